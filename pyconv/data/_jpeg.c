/* A rectangle of a JPEG image, decoded without decoding the rest: libjpeg-turbo's cropping and skipping of lines.
 *
 *     size(data) -> (width, height)
 *     crop(data, left, top, width, height) -> bytearray of height * width * 3 bytes, RGB
 *
 * The pixels are those of a decode of the whole image (accurate DCT, smooth chroma): lines and columns around the
 * rectangle are decoded too where smoothing reads them. ValueError for what is not a sound JPEG of grey or YCbCr or RGB
 * colours; the caller then asks a decoder that knows more.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <jpeglib.h>

#define CHANNELS 3
#define LINES_AROUND 2 /* of which smooth chroma reads one */

typedef struct {
    struct jpeg_error_mgr manager;
    jmp_buf leave;
    char message[JMSG_LENGTH_MAX];
} Failure;

typedef struct {
    JDIMENSION left, top, width, height;
} Box;

static void leave(j_common_ptr info) {
    Failure *failure = (Failure *)info->err;
    failure->manager.format_message(info, failure->message);
    longjmp(failure->leave, 1);
}

/* libjpeg repairs what it can and goes on; here a repaired image is refused. */
static void refuse_warnings(j_common_ptr info, int level) {
    if (level < 0) {
        leave(info);
    }
}

static void begin(struct jpeg_decompress_struct *info, Failure *failure) {
    memset(info, 0, sizeof *info);
    info->err = jpeg_std_error(&failure->manager);
    failure->manager.error_exit = leave;
    failure->manager.emit_message = refuse_warnings;
    failure->message[0] = '\0';
}

static void read_header(struct jpeg_decompress_struct *info, const Py_buffer *data) {
    jpeg_create_decompress(info);
    jpeg_mem_src(info, data->buf, (unsigned long)data->len);
    jpeg_read_header(info, TRUE);
}

static int has_colours_of_a_photograph(const struct jpeg_decompress_struct *info) {
    return info->jpeg_color_space == JCS_YCbCr || info->jpeg_color_space == JCS_GRAYSCALE ||
           info->jpeg_color_space == JCS_RGB;
}

/* 0, or -1 with the reason in `failure`. */
static int measure(const Py_buffer *data, Failure *failure, Box *image) {
    struct jpeg_decompress_struct info;
    begin(&info, failure);
    if (setjmp(failure->leave)) {
        jpeg_destroy_decompress(&info);
        return -1;
    }
    read_header(&info, data);
    int fits = has_colours_of_a_photograph(&info);
    image->width = info.image_width;
    image->height = info.image_height;
    jpeg_destroy_decompress(&info);
    if (!fits) {
        strcpy(failure->message, "colours that are neither grey nor YCbCr nor RGB");
    }
    return fits ? 0 : -1;
}

static void decode_lines(struct jpeg_decompress_struct *info, const Box *box, unsigned char *pixels) {
    info->out_color_space = JCS_RGB;
    info->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(info);
    JDIMENSION margin = (JDIMENSION)(info->max_h_samp_factor * DCTSIZE);
    JDIMENSION left = box->left > margin ? box->left - margin : 0;
    JDIMENSION right = box->left + box->width + margin;
    JDIMENSION width = (right < info->output_width ? right : info->output_width) - left;
    jpeg_crop_scanline(info, &left, &width); /* moves `left` down to a block's border */
    JDIMENSION top = box->top > LINES_AROUND ? box->top - LINES_AROUND : 0;
    JSAMPARRAY line = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE, width * CHANNELS, 1);
    if (top > 0) {
        jpeg_skip_scanlines(info, top);
    }
    size_t length = (size_t)box->width * CHANNELS;
    while (info->output_scanline < box->top + box->height) {
        JDIMENSION at = info->output_scanline;
        jpeg_read_scanlines(info, line, 1);
        if (at >= box->top) {
            memcpy(pixels + (at - box->top) * length, line[0] + (box->left - left) * CHANNELS, length);
        }
    }
}

static int decode(const Py_buffer *data, Failure *failure, const Box *box, unsigned char *pixels) {
    struct jpeg_decompress_struct info;
    begin(&info, failure);
    if (setjmp(failure->leave)) {
        jpeg_destroy_decompress(&info);
        return -1;
    }
    read_header(&info, data);
    decode_lines(&info, box, pixels);
    jpeg_abort_decompress(&info); /* the lines below the rectangle are not decoded */
    jpeg_destroy_decompress(&info);
    return 0;
}

static PyObject *size(PyObject *module, PyObject *argument) {
    (void)module;
    Py_buffer data;
    if (PyObject_GetBuffer(argument, &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    Failure failure;
    Box image;
    int status = measure(&data, &failure, &image);
    PyBuffer_Release(&data);
    if (status < 0) {
        return PyErr_Format(PyExc_ValueError, "%s", failure.message);
    }
    return Py_BuildValue("II", image.width, image.height);
}

/* The decoded rectangle, which must lie within the image; the bytes of `data` must not change meanwhile. */
static PyObject *decoded(const Py_buffer *data, const Box *box) {
    Failure failure;
    Box image;
    if (measure(data, &failure, &image) < 0) {
        return PyErr_Format(PyExc_ValueError, "%s", failure.message);
    }
    if (box->width == 0 || box->height == 0 || box->left >= image.width || box->top >= image.height ||
        box->width > image.width - box->left || box->height > image.height - box->top) {
        return PyErr_Format(PyExc_ValueError, "the rectangle (left %u, top %u, %u x %u) is not within %u x %u pixels",
                            box->left, box->top, box->width, box->height, image.width, image.height);
    }
    PyObject *pixels = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)box->width * box->height * CHANNELS);
    if (pixels == NULL) {
        return NULL;
    }
    int status;
    unsigned char *target = (unsigned char *)PyByteArray_AS_STRING(pixels);
    Py_BEGIN_ALLOW_THREADS
    status = decode(data, &failure, box, target);
    Py_END_ALLOW_THREADS
    if (status < 0) {
        Py_DECREF(pixels);
        return PyErr_Format(PyExc_ValueError, "%s", failure.message);
    }
    return pixels;
}

static PyObject *crop(PyObject *module, PyObject *arguments) {
    (void)module;
    Py_buffer data;
    Box box;
    if (!PyArg_ParseTuple(arguments, "y*IIII", &data, &box.left, &box.top, &box.width, &box.height)) {
        return NULL;
    }
    PyObject *pixels = decoded(&data, &box);
    PyBuffer_Release(&data);
    return pixels;
}

static PyMethodDef methods[] = {
    {"size", size, METH_O, "size(data) -> (width, height)"},
    {"crop", crop, METH_VARARGS, "crop(data, left, top, width, height) -> bytearray, RGB, line by line"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "pyconv.data._jpeg", "Rectangles of JPEG images.", -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__jpeg(void) { return PyModule_Create(&module); }
