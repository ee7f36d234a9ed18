/* What the compiled formulations share. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdlib.h>
#include <string.h>

static void *space(long bytes) { return aligned_alloc(64, (bytes / 64 + 1) * 64); }

static long round_up(long value, long step) { return (value + step - 1) / step * step; }

static int has(const char *name) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  __builtin_cpu_init();
  if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!strcmp(name, "avx512"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#endif
  return !strcmp(name, "plain");
}

static PyObject *finished(int result) {
  if (result) return PyErr_NoMemory();
  Py_RETURN_NONE;
}

/* A tuple of `count` integers, where they go. */
static int parse_numbers(PyObject *numbers, long *const *to, long count) {
  if (!PyTuple_Check(numbers) || PyTuple_GET_SIZE(numbers) != count) {
    PyErr_Format(PyExc_TypeError, "a geometry is a tuple of %ld integers", count);
    return -1;
  }
  for (long i = 0; i < count; i++) {
    *to[i] = PyLong_AsLong(PyTuple_GET_ITEM(numbers, i));
    if (*to[i] == -1 && PyErr_Occurred()) return -1;
  }
  return 0;
}
