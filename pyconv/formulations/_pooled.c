/* The 3x3 max pool, padded by 1, of maps that lie channels last, and its gradient.

   An output's window is rows stride * i - 1 to stride * i + 1, columns alike, as far as they lie on the map. Of each
   output one byte is kept: its tap, 3 * row + column in the window. The gradient then is gathered: an input pixel adds
   up, in order of position, the gradients of those outputs around it whose tap it is. Every value is written once and
   by one thread: the bits do not depend on the number of threads. Compiled with -fno-trapping-math, without which the
   loops with conditions stay scalar.

   Python side: pyconv/formulations/pooled.py, which also checks what is asked for. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

typedef struct {
  long images, height, width, channels, stride_y, stride_x;
} Maps;

static long out_side(long side, long stride) { return ((side - 1) >> (stride - 1)) + 1; } /* stride is 1 or 2 */

typedef struct {
  long first, last;
} Range;

/* The rows, or columns, of a side of the map that the output at `position` looks at. */
static inline Range window(long position, long stride, long side) {
  long middle = position * stride;
  return (Range){middle > 0 ? middle - 1 : 0, middle < side - 1 ? middle + 1 : middle};
}

/* The outputs, along a side, that look at the input at `position`; `stride` is 1 or 2. */
static inline Range windows(long position, long stride, long side) {
  long first = stride == 1 ? position - 1 : position >> 1, last = (position + 1) >> (stride - 1);
  return (Range){first > 0 ? first : 0, last < out_side(side, stride) ? last : last - 1};
}

/* Threads that are worth their start. */
static int useful(int threads, const Maps *maps) {
  return maps->images * maps->height * maps->width * maps->channels < 1 << 15 ? 1 : threads;
}

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#if __GNUC__ >= 12
#define WIDEST "arch=x86-64-v4" /* compares bytes, too, in its widest registers */
#else
#define WIDEST "avx512f"
#endif
#define CLONES __attribute__((target_clones(WIDEST, "avx2", "default"), noinline))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

/* What a pixel meets: up to 3 rows of up to 3 pixels; the loops are compiled for each of their numbers. */
#define FOR_EACH_COUNT(count, CALL) \
  switch (count) {                  \
    case 1: CALL(1); break;         \
    case 2: CALL(2); break;         \
    case 3: CALL(3); break;         \
    case 4: CALL(4); break;         \
    case 6: CALL(6); break;         \
    default: CALL(9);               \
  }

#define REAL float
#define TAP int32_t
#define NAME(x) JOIN(x, _f32)
#include "_pooled_kernels.h"
#undef REAL
#undef TAP
#undef NAME
#define REAL double
#define TAP int64_t
#define NAME(x) JOIN(x, _f64)
#include "_pooled_kernels.h"

#define AT(address) ((void *)(uintptr_t)(address))

/* forward(is_double, x, y, taps or 0, (images, height, width, channels), (stride y, stride x), threads) */
static PyObject *forward(PyObject *Py_UNUSED(self), PyObject *arguments) {
  int is_double, threads;
  unsigned long long x, y, taps;
  Maps maps;
  if (!PyArg_ParseTuple(arguments, "pKKK(llll)(ll)i", &is_double, &x, &y, &taps, &maps.images, &maps.height,
                        &maps.width, &maps.channels, &maps.stride_y, &maps.stride_x, &threads))
    return NULL;
  Py_BEGIN_ALLOW_THREADS
  if (is_double)
    forward_f64(AT(x), AT(y), AT(taps), &maps, threads);
  else
    forward_f32(AT(x), AT(y), AT(taps), &maps, threads);
  Py_END_ALLOW_THREADS
  Py_RETURN_NONE;
}

/* backward(is_double, grad, taps, dx, (images, height, width, channels) of dx, (stride y, stride x), threads) */
static PyObject *backward(PyObject *Py_UNUSED(self), PyObject *arguments) {
  int is_double, threads;
  unsigned long long grad, taps, dx;
  Maps maps;
  if (!PyArg_ParseTuple(arguments, "pKKK(llll)(ll)i", &is_double, &grad, &taps, &dx, &maps.images, &maps.height,
                        &maps.width, &maps.channels, &maps.stride_y, &maps.stride_x, &threads))
    return NULL;
  Py_BEGIN_ALLOW_THREADS
  if (is_double)
    backward_f64(AT(grad), AT(taps), AT(dx), &maps, threads);
  else
    backward_f32(AT(grad), AT(taps), AT(dx), &maps, threads);
  Py_END_ALLOW_THREADS
  Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"forward", forward, METH_VARARGS, "Outputs and, where there is room for them, their taps."},
    {"backward", backward, METH_VARARGS, "Gradient of the input."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_pooled", "3x3 max pool, channels last.", -1, methods, NULL,
                                    NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__pooled(void) { return PyModule_Create(&module); }
