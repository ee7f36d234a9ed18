/* The loops of _normalised.c for one type of numbers. REAL: float or double. NAME(x): x with a suffix of its own.

   x, other, y and gradients: (rows, channels), a row a pixel. Functions on rows have one copy an instruction set. */

/* sum += d and square += d * d of d = x - pivot. */
CLONES static void NAME(add_moments)(const REAL *restrict x, long rows, long channels, const REAL *restrict pivot,
                                     REAL *restrict sum, REAL *restrict square) {
  for (long row = 0; row < rows; row++, x += channels)
    for (long c = 0; c < channels; c++) {
      REAL d = x[c] - pivot[c];
      sum[c] += d;
      square[c] += d * d;
    }
}

CLONES static void NAME(activate)(const REAL *restrict x, const REAL *restrict other, REAL *restrict y, long rows,
                                  long channels, const REAL *restrict scale, const REAL *restrict shift) {
  for (long row = 0; row < rows; row++, x += channels, y += channels) {
    for (long c = 0; c < channels; c++) {
      REAL value = x[c] * scale[c] + shift[c];
      if (other) value += other[c];
      y[c] = value < 0 ? 0 : value; /* not a number stays what it is */
    }
    if (other) other += channels;
  }
}

/* masked = grad where y is above 0; first += masked and second += masked * (x - mean). */
CLONES static void NAME(add_gradients)(const REAL *restrict x, const REAL *restrict y, const REAL *restrict grad,
                                       REAL *restrict masked, long rows, long channels, const REAL *restrict mean,
                                       REAL *restrict first, REAL *restrict second) {
  for (long row = 0; row < rows; row++, x += channels, y += channels, grad += channels, masked += channels)
    for (long c = 0; c < channels; c++) {
      REAL own = y[c] <= 0 ? 0 : grad[c];
      masked[c] = own;
      first[c] += own;
      second[c] += own * (x[c] - mean[c]);
    }
}

/* dx = a * masked + b * x + c; `masked` may be dx itself. */
CLONES static void NAME(combine)(const REAL *x, const REAL *masked, REAL *dx, long rows, long channels,
                                 const REAL *restrict a, const REAL *restrict b, const REAL *restrict k) {
  for (long row = 0; row < rows; row++, x += channels, masked += channels, dx += channels) {
#pragma GCC ivdep
    for (long c = 0; c < channels; c++) dx[c] = a[c] * masked[c] + b[c] * x[c] + k[c];
  }
}

static int NAME(forward)(const REAL *x, const REAL *other, const REAL *weight, const REAL *bias, double eps, REAL *y,
                         REAL *mean, REAL *variance, long rows, long channels, int threads) {
  long each = chunk_rows(rows), chunks = (rows + each - 1) / each;
  REAL *parts = calloc(2 * chunks * channels + 2 * channels, sizeof(REAL));
  if (!parts) return -1;
  REAL *scale = parts + 2 * chunks * channels, *shift = scale + channels;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (long chunk = 0; chunk < chunks; chunk++) {
      REAL *sum = parts + 2 * chunk * channels;
      long first = chunk * each, count = rows - first < each ? rows - first : each;
      NAME(add_moments)(x + first * channels, count, channels, x, sum, sum + channels);
    }
#pragma omp for schedule(static)
    for (long c = 0; c < channels; c++) {
      double sum = 0, square = 0;
      for (long chunk = 0; chunk < chunks; chunk++) {
        sum += parts[2 * chunk * channels + c];
        square += parts[(2 * chunk + 1) * channels + c];
      }
      double spread = square / rows - sum / rows * (sum / rows), own = weight[c] / sqrt((spread < 0 ? 0 : spread) + eps);
      mean[c] = x[c] + sum / rows;
      variance[c] = spread < 0 ? 0 : spread;
      scale[c] = own;
      shift[c] = bias[c] - (x[c] + sum / rows) * own;
    }
#pragma omp for schedule(static)
    for (long chunk = 0; chunk < chunks; chunk++) {
      long first = chunk * each * channels, count = rows - chunk * each < each ? rows - chunk * each : each;
      NAME(activate)(x + first, other ? other + first : other, y + first, count, channels, scale, shift);
    }
  }
  free(parts);
  return 0;
}

static int NAME(backward)(const REAL *grad, const REAL *x, const REAL *y, const REAL *weight, const REAL *mean,
                          const REAL *variance, double eps, REAL *masked, REAL *dx, REAL *dweight, REAL *dbias,
                          long rows, long channels, int threads) {
  long each = chunk_rows(rows), chunks = (rows + each - 1) / each;
  REAL *parts = calloc(2 * chunks * channels + 3 * channels, sizeof(REAL));
  if (!parts) return -1;
  REAL *a = parts + 2 * chunks * channels, *b = a + channels, *k = b + channels;
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (long chunk = 0; chunk < chunks; chunk++) {
      REAL *sum = parts + 2 * chunk * channels;
      long first = chunk * each * channels, count = rows - chunk * each < each ? rows - chunk * each : each;
      NAME(add_gradients)(x + first, y + first, grad + first, masked + first, count, channels, mean, sum,
                          sum + channels);
    }
#pragma omp for schedule(static)
    for (long c = 0; c < channels; c++) {
      double first = 0, second = 0, inverse = 1 / sqrt(variance[c] + eps);
      for (long chunk = 0; chunk < chunks; chunk++) {
        first += parts[2 * chunk * channels + c];
        second += parts[(2 * chunk + 1) * channels + c];
      }
      dbias[c] = first;
      dweight[c] = second * inverse;
      a[c] = weight[c] * inverse;
      b[c] = -weight[c] * inverse * inverse * inverse * second / rows;
      k[c] = -weight[c] * inverse * first / rows + weight[c] * inverse * inverse * inverse * second / rows * mean[c];
    }
#pragma omp for schedule(static)
    for (long chunk = 0; chunk < chunks; chunk++) {
      long first = chunk * each * channels, count = rows - chunk * each < each ? rows - chunk * each : each;
      NAME(combine)(x + first, masked + first, dx + first, count, channels, a, b, k);
    }
  }
  free(parts);
  return 0;
}
