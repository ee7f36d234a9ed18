/* relu(batch_norm(x) + other) and its gradients in training, in two passes over memory each.

   A library's layers, called one after the other, pass nine times forward and eight times backward. Channels last:
   (rows, channels). Sums go over a fixed number of rows each, then over these parts in order and in double: the bits do
   not depend on the number of threads.

   Python side: pyconv/formulations/normalised.py, which also checks what is asked for. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdlib.h>

/* Rows that are added up in REAL itself: few parts for large maps, short sums for small ones. */
static long chunk_rows(long rows) {
  long each = (rows + 63) / 64;
  return each < 64 ? 64 : each;
}

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("avx512f", "avx2", "default"), noinline))
#else
#define CLONES
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

#define REAL float
#define NAME(x) JOIN(x, _f32)
#include "_normalised_kernels.h"
#undef REAL
#undef NAME
#define REAL double
#define NAME(x) JOIN(x, _f64)
#include "_normalised_kernels.h"

#define AT(address) ((void *)(uintptr_t)(address))

static PyObject *finished(int result) {
  if (result) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

/* forward(is_double, x, other or 0, weight, bias, eps, y, mean, variance, rows, channels, threads), tensors as addresses */
static PyObject *forward(PyObject *Py_UNUSED(self), PyObject *arguments) {
  int is_double, threads, result;
  unsigned long long x, other, weight, bias, y, mean, variance;
  long rows, channels;
  double eps;
  if (!PyArg_ParseTuple(arguments, "pKKKKdKKKlli", &is_double, &x, &other, &weight, &bias, &eps, &y, &mean, &variance,
                        &rows, &channels, &threads))
    return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? forward_f64(AT(x), AT(other), AT(weight), AT(bias), eps, AT(y), AT(mean), AT(variance), rows,
                                   channels, threads)
                     : forward_f32(AT(x), AT(other), AT(weight), AT(bias), eps, AT(y), AT(mean), AT(variance), rows,
                                   channels, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

/* backward(is_double, grad, x, y, weight, mean, variance, eps, masked, dx, dweight, dbias, rows, channels, threads) */
static PyObject *backward(PyObject *Py_UNUSED(self), PyObject *arguments) {
  int is_double, threads, result;
  unsigned long long grad, x, y, weight, mean, variance, masked, dx, dweight, dbias;
  long rows, channels;
  double eps;
  if (!PyArg_ParseTuple(arguments, "pKKKKKKdKKKKlli", &is_double, &grad, &x, &y, &weight, &mean, &variance, &eps,
                        &masked, &dx, &dweight, &dbias, &rows, &channels, &threads))
    return NULL;
  Py_BEGIN_ALLOW_THREADS
  result = is_double ? backward_f64(AT(grad), AT(x), AT(y), AT(weight), AT(mean), AT(variance), eps, AT(masked), AT(dx),
                                    AT(dweight), AT(dbias), rows, channels, threads)
                     : backward_f32(AT(grad), AT(x), AT(y), AT(weight), AT(mean), AT(variance), eps, AT(masked), AT(dx),
                                    AT(dweight), AT(dbias), rows, channels, threads);
  Py_END_ALLOW_THREADS
  return finished(result);
}

static PyMethodDef methods[] = {
    {"forward", forward, METH_VARARGS, "Outputs, mean and variance."},
    {"backward", backward, METH_VARARGS, "Gradients of input, weight and bias, and the gradient before the ReLU."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_normalised", "ReLU of a batch norm, in training.", -1, methods,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__normalised(void) { return PyModule_Create(&module); }
