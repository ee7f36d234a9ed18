/* Grouped convolutions with few maps a group, computed directly: the larger levels of a pyramid on a processor.

   Libraries fill vectors with the output maps of one group, of which such a level has 1 to 8. Here a vector's lanes are
   neighbouring input maps, whatever the groups: out[o] = sum over the lanes of o's group of sum over taps of
   x[tap] * w[o][tap]. The inner sum is multiplications lane by lane without waste; the lanes are added up once at the
   end. Memory is channels-last. What is read again and again, a band of padded rows, is copied to where the cache
   keeps it. The same sums in the same order whatever the number of threads.

   Python side: pyconv/formulations/direct.py, which also checks what is asked for. */

#include "_shared.h"

enum { WIDTHS = 5, TASKS = 16, LARGEST_KERNEL = 31 };
static const long CACHE = 400000; /* bytes of a band of rows: below half of a second-level cache */

/* A convolution of (images, in, channels) by groups. A plane has one frame (kernel 1 along it). Time, height, width.
   `pitch`: maps of the tensor that the output is a part of; `offset`: where in its maps it begins. */
typedef struct {
  long images, in[3], channels, maps, groups, kernel[3], stride[3], pad[3], dilation[3], out[3], pitch, offset,
      weight_step[5];
} Geometry;

typedef struct {
  long rows, columns, x_row, x_column, tap, grad_row, map, into;
} Steps;

/* Taps of an axis that reach the input positions of one remainder; `base`: descending. */
typedef struct {
  long count, tap[LARGEST_KERNEL], base[LARGEST_KERNEL];
} Class;

/* The input rows and columns of one class each, of a band of a frame: which taps reach them, and where. */
typedef struct {
  const Class *t, *v, *u;
  long row, column;        /* the classes' remainders */
  long top, bottom, right; /* rows [top, bottom) and columns [0, right) of these classes */
  long begin, end;         /* taps of `t` whose frames exist */
  long first_weight;
} Reached;

#define EACH_CLASS(t, v, u)                                                  \
  for (const Class *t = axes[0]; t < axes[0] + g->stride[0]; t++)            \
    for (const Class *v = axes[1]; v < axes[1] + g->stride[1]; v++)          \
      for (const Class *u = axes[2]; u < axes[2] + g->stride[2]; u++)

/* Of cache lines from row to row: with a power of two all rows would compete for the same few places of the cache. */
static long odd(long value) { return value | 1; }

/* The number of positions at once that computes fewest positions beyond the end of a row. */
static int best_width(long row, const long positions[WIDTHS]) {
  int best = 0;
  for (int i = 1; i < WIDTHS; i++)
    if (round_up(row, positions[i]) < round_up(row, positions[best])) best = i;
  return best;
}

/* The taps [begin, end) for which first + tap * dilation lies in [0, size). */
static void inside(long first, long dilation, long taps, long size, long *begin, long *end) {
  *begin = 0;
  *end = taps;
  while (*begin < *end && first + *begin * dilation < 0) ++*begin;
  while (*end > *begin && first + (*end - 1) * dilation >= size) --*end;
}

static Class *classes(const Geometry *g, int axis) {
  long stride = g->stride[axis];
  Class *found = calloc(stride, sizeof(Class));
  for (long r = 0; found && r < stride; r++)
    for (long tap = 0; tap < g->kernel[axis]; tap++) {
      long reached = r + g->pad[axis] - tap * g->dilation[axis];
      if (reached % stride) continue;
      found[r].tap[found[r].count] = tap;
      found[r].base[found[r].count++] = reached / stride;
    }
  return found;
}

/* How many taps the classes before (ct, cv, cu) have. */
static long taps_before(Class *const axes[3], const Geometry *g, long ct, long cv, long cu) {
  long before = 0, number = 0, own = (ct * g->stride[1] + cv) * g->stride[2] + cu;
  EACH_CLASS(t, v, u)
    if (number++ < own) before += t->count * v->count * u->count;
  return before;
}

#define KERNELS "_direct_kernels.h"
#include "_instructions.h"

typedef struct {
  const char *name;
  int (*forward32)(const float *, const float *, const float *, int, float *, const Geometry *, int);
  int (*input32)(const float *, const float *, float *, const Geometry *, int, int);
  int (*weight32)(const float *, const float *, float *, const Geometry *, int);
  int (*forward64)(const double *, const double *, const double *, int, double *, const Geometry *, int);
  int (*input64)(const double *, const double *, double *, const Geometry *, int, int);
  int (*weight64)(const double *, const double *, double *, const Geometry *, int);
} Level;

#define LEVEL(name, f32, f64)                                                                            \
  {                                                                                                      \
    name, forward##f32, input_gradient##f32, weight_gradient##f32, forward##f64, input_gradient##f64,    \
        weight_gradient##f64                                                                             \
  }
static const Level levels[] = {
    LEVEL("plain", _f32_plain, _f64_plain),
#ifdef X86
    LEVEL("avx2", _f32_avx2, _f64_avx2),
    LEVEL("avx512", _f32_avx512, _f64_avx512),
#endif
};
enum { LEVELS = sizeof levels / sizeof *levels };

static const Level *level_named(const char *name) {
  for (int i = 0; i < LEVELS; i++)
    if (!strcmp(levels[i].name, name) && has(levels[i].name)) return &levels[i];
  PyErr_Format(PyExc_ValueError, "no instructions %s here", name);
  return NULL;
}

static int parse_geometry(PyObject *numbers, Geometry *g) {
  long *to[] = {&g->images,       &g->in[0],       &g->in[1],       &g->in[2],       &g->channels,    &g->maps,
                &g->groups,       &g->kernel[0],   &g->kernel[1],   &g->kernel[2],   &g->stride[0],   &g->stride[1],
                &g->stride[2],    &g->pad[0],      &g->pad[1],      &g->pad[2],      &g->dilation[0], &g->dilation[1],
                &g->dilation[2],  &g->out[0],      &g->out[1],      &g->out[2],      &g->pitch,       &g->offset,
                &g->weight_step[0], &g->weight_step[1], &g->weight_step[2], &g->weight_step[3], &g->weight_step[4]};
  return parse_numbers(numbers, to, sizeof to / sizeof *to);
}

/* forward(instructions, is_double, x, weight, bias or 0, relu, y, geometry, threads), tensors as addresses */
static PyObject *forward(PyObject *Py_UNUSED(self), PyObject *arguments) {
  const char *name;
  int is_double, relu, threads, result;
  unsigned long long x, w, bias, y;
  PyObject *numbers;
  Geometry g;
  if (!PyArg_ParseTuple(arguments, "spKKKpKOi", &name, &is_double, &x, &w, &bias, &relu, &y, &numbers, &threads)) return NULL;
  const Level *level = level_named(name);
  if (!level || parse_geometry(numbers, &g)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? level->forward64((void *)x, (void *)w, (void *)bias, relu, (void *)y, &g, threads)
                     : level->forward32((void *)x, (void *)w, (void *)bias, relu, (void *)y, &g, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

/* input_gradient(instructions, is_double, grad, weight, dx, geometry, accumulate, threads) */
static PyObject *input_gradient(PyObject *Py_UNUSED(self), PyObject *arguments) {
  const char *name;
  int is_double, threads, accumulate, result;
  unsigned long long grad, w, dx;
  PyObject *numbers;
  Geometry g;
  if (!PyArg_ParseTuple(arguments, "spKKKOpi", &name, &is_double, &grad, &w, &dx, &numbers, &accumulate, &threads))
    return NULL;
  const Level *level = level_named(name);
  if (!level || parse_geometry(numbers, &g)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? level->input64((void *)grad, (void *)w, (void *)dx, &g, accumulate, threads)
                     : level->input32((void *)grad, (void *)w, (void *)dx, &g, accumulate, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

/* weight_gradient(instructions, is_double, x, grad, dw, geometry, threads) */
static PyObject *weight_gradient(PyObject *Py_UNUSED(self), PyObject *arguments) {
  const char *name;
  int is_double, threads, result;
  unsigned long long x, grad, dw;
  PyObject *numbers;
  Geometry g;
  if (!PyArg_ParseTuple(arguments, "spKKKOi", &name, &is_double, &x, &grad, &dw, &numbers, &threads)) return NULL;
  const Level *level = level_named(name);
  if (!level || parse_geometry(numbers, &g)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? level->weight64((void *)x, (void *)grad, (void *)dw, &g, threads)
                     : level->weight32((void *)x, (void *)grad, (void *)dw, &g, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

/* instructions() -> names that this processor has, slowest first */
static PyObject *instructions(PyObject *Py_UNUSED(self), PyObject *Py_UNUSED(none)) {
  PyObject *names = PyList_New(0);
  for (int i = 0; names && i < LEVELS; i++)
    if (has(levels[i].name)) {
      PyObject *name = PyUnicode_FromString(levels[i].name);
      if (!name || PyList_Append(names, name)) Py_CLEAR(names);
      Py_XDECREF(name);
    }
  return names;
}

static PyMethodDef methods[] = {
    {"forward", forward, METH_VARARGS, "Outputs of one level."},
    {"input_gradient", input_gradient, METH_VARARGS, "Gradient of a level's input."},
    {"weight_gradient", weight_gradient, METH_VARARGS, "Gradient of a level's weight."},
    {"instructions", instructions, METH_NOARGS, "Instruction sets that this processor has, slowest first."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_direct", "Grouped convolutions with few maps a group.", -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__direct(void) { return PyModule_Create(&module); }
