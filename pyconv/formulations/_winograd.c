/* Winograd's convolution F(4x4, 3x3): a dense 3x3 with 36 instead of 144 multiplications for each 4x4 of its output.

       out tile = A' ((G w G') * (B' x B)) A,    x a tile of 6x6, w a kernel, * by elements, summed over input maps

   (Lavin and Gray, CVPR 2016; interpolation at 0, 1, -1, 2, -2 and infinity.) Tiles and weights are transformed, lanes
   being neighbouring maps; 36 products of matrices follow, (tiles, input maps) x (input maps, output maps); then their
   sums are transformed into outputs, which get their bias and ReLU as they are written. A dilated kernel works on the
   d x d grids of every d-th pixel, each of which is a plain image. The weights' gradient is the same in reverse. Memory
   is channels-last. The same sums in the same order whatever the number of threads.

   Python side: pyconv/formulations/winograd.py, which also checks what is asked for. */

#include <stdatomic.h>

#include "_shared.h"

enum {
  TILE = 4,   /* outputs a side */
  SPAN = 6,   /* inputs a side */
  POINTS = 36,
  BLOCK = 64, /* maps of a tile that lie together: a constant distance from tile to tile */
};
static const long CHUNK = 3000000; /* values of transformed tiles at once, at most: what a third-level cache holds */

/* A dense 3x3 of stride 1, padded to keep the size, of (images, height, width). `x_pitch`, `y_pitch`: maps of the
   tensors that inputs and outputs are parts of. */
typedef struct {
  long images, height, width, channels, maps, dilation, x_pitch, y_pitch;
} Geometry;

/* Of the tiles: rows and columns of them on each grid, all of them, and so many at once. */
typedef struct {
  long rows, columns, all, chunk;
} Tiling;

/* Where a tile begins: image, its grid's first row and column, first row and column of its outputs on the grid. */
typedef struct {
  long image, row0, column0, row, column;
} Place;

static Tiling tiling(const Geometry *g) {
  long d = g->dilation;
  Tiling of = {.rows = round_up(round_up(g->height, d) / d, TILE) / TILE,
               .columns = round_up(round_up(g->width, d) / d, TILE) / TILE};
  of.all = g->images * d * d * of.rows * of.columns;
  long fitting = CHUNK / (POINTS * (g->channels + g->maps)), parts = 1;
  if (fitting < 32) fitting = 32;
  parts = of.all > fitting ? round_up(of.all, fitting) / fitting : 1;
  of.chunk = round_up(of.all, parts) / parts;
  return of;
}

static Place place(const Geometry *g, const Tiling *of, long tile) {
  long column = tile % of->columns, row = tile / of->columns % of->rows, grid = tile / (of->columns * of->rows);
  long d = g->dilation;
  return (Place){grid / (d * d), grid / d % d, grid % d, row * TILE, column * TILE};
}

/* Of matrices of `rows` rows of `width` values: how far they lie apart, an odd number of cache lines. */
static long apart(long rows, long width) { return (rows * width / 16 | 1) * 16; }

/* Memory for one call, kept for the next: given back each time, the system would clear tens of megabytes again. */
static struct {
  atomic_flag taken;
  void *memory;
  long bytes;
} kept = {.taken = ATOMIC_FLAG_INIT};

static void *take(long bytes, int *is_kept) {
  *is_kept = !atomic_flag_test_and_set(&kept.taken);
  if (!*is_kept) return space(bytes); /* another thread computes at the same time */
  if (kept.bytes < bytes) {
    free(kept.memory);
    kept.memory = space(bytes);
    kept.bytes = kept.memory ? bytes : 0;
  }
  return kept.memory;
}

static void give_back(void *memory, int is_kept) {
  if (is_kept)
    atomic_flag_clear(&kept.taken);
  else
    free(memory);
}

#define KERNELS "_winograd_kernels.h"
#include "_instructions.h"

typedef struct {
  const char *name;
  void (*weights32)(const float *, const long *, float *, long, long, int);
  int (*forward32)(const float *, const float *, const long *, const float *, const float *, int, int, float *,
                   const Geometry *, int);
  int (*gradient32)(const float *, const float *, float *, const long *, const Geometry *, int);
  void (*weights64)(const double *, const long *, double *, long, long, int);
  int (*forward64)(const double *, const double *, const long *, const double *, const double *, int, int, double *,
                   const Geometry *, int);
  int (*gradient64)(const double *, const double *, double *, const long *, const Geometry *, int);
} Level;

#define LEVEL(name, f32, f64) \
  {name, weights##f32, forward##f32, weight_gradient##f32, weights##f64, forward##f64, weight_gradient##f64}
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
    if (!strcmp(levels[i].name, name) && has(name)) return &levels[i];
  PyErr_Format(PyExc_ValueError, "no instructions %s here", name);
  return NULL;
}

static int parse_geometry(PyObject *numbers, Geometry *g) {
  long *to[] = {&g->images, &g->height, &g->width, &g->channels, &g->maps, &g->dilation, &g->x_pitch, &g->y_pitch};
  return parse_numbers(numbers, to, sizeof to / sizeof *to);
}

/* Of a weight: steps from output map to output map, from input map to input map, from tap to tap, down and across. */
static int parse_steps(PyObject *numbers, long steps[4]) {
  long *to[] = {&steps[0], &steps[1], &steps[2], &steps[3]};
  return parse_numbers(numbers, to, 4);
}

#define AT(address) ((void *)(uintptr_t)(address))

/* weights(instructions, is_double, weight, steps, transformed, input maps, output maps, threads), tensors as addresses */
static PyObject *weights(PyObject *Py_UNUSED(self), PyObject *arguments) {
  const char *name;
  int is_double, threads;
  unsigned long long w, to;
  long channels, maps, steps[4];
  PyObject *numbers;
  if (!PyArg_ParseTuple(arguments, "spKOKlli", &name, &is_double, &w, &numbers, &to, &channels, &maps, &threads))
    return NULL;
  const Level *level = level_named(name);
  if (!level || parse_steps(numbers, steps)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  if (is_double)
    level->weights64(AT(w), steps, AT(to), channels, maps, threads);
  else
    level->weights32(AT(w), steps, AT(to), channels, maps, threads);
  Py_END_ALLOW_THREADS
  Py_RETURN_NONE;
}

/* forward(instructions, is_double, x, weight, steps, transformed weights or 0, bias or 0, relu, add, y, geometry, threads) */
static PyObject *forward(PyObject *Py_UNUSED(self), PyObject *arguments) {
  const char *name;
  int is_double, relu, add, threads, result;
  unsigned long long x, w, own, bias, y;
  long steps[4];
  PyObject *numbers, *step_numbers;
  Geometry g;
  if (!PyArg_ParseTuple(arguments, "spKKOKKppKOi", &name, &is_double, &x, &w, &step_numbers, &own, &bias, &relu, &add,
                        &y, &numbers, &threads))
    return NULL;
  const Level *level = level_named(name);
  if (!level || parse_geometry(numbers, &g) || parse_steps(step_numbers, steps)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? level->forward64(AT(x), AT(w), steps, AT(own), AT(bias), relu, add, AT(y), &g, threads)
                     : level->forward32(AT(x), AT(w), steps, AT(own), AT(bias), relu, add, AT(y), &g, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

/* weight_gradient(instructions, is_double, x, grad, dw, steps, geometry, threads) */
static PyObject *weight_gradient(PyObject *Py_UNUSED(self), PyObject *arguments) {
  const char *name;
  int is_double, threads, result;
  unsigned long long x, grad, dw;
  long steps[4];
  PyObject *numbers, *step_numbers;
  Geometry g;
  if (!PyArg_ParseTuple(arguments, "spKKKOOi", &name, &is_double, &x, &grad, &dw, &step_numbers, &numbers, &threads))
    return NULL;
  const Level *level = level_named(name);
  if (!level || parse_geometry(numbers, &g) || parse_steps(step_numbers, steps)) return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? level->gradient64(AT(x), AT(grad), AT(dw), steps, &g, threads)
                     : level->gradient32(AT(x), AT(grad), AT(dw), steps, &g, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

static PyMethodDef methods[] = {
    {"weights", weights, METH_VARARGS, "G w G' of all kernels."},
    {"forward", forward, METH_VARARGS, "Outputs, or with turned weights the input's gradient."},
    {"weight_gradient", weight_gradient, METH_VARARGS, "Gradient of the weight."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_winograd", "Winograd's convolution.", -1, methods,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__winograd(void) { return PyModule_Create(&module); }
