/* The loops of _pooled.c for one type of numbers. REAL: float or double. TAP: an integer of its size. NAME(x): x with a
   suffix of its own. Functions on rows have one copy an instruction set. */

/* The greatest of `count` values a channel: the first of equal ones, the last that is not a number. */
INLINE void NAME(greatest)(const REAL *const *from, const TAP *tap, REAL *restrict y, uint8_t *restrict taps,
                           long channels, const int count, const int keep) {
#pragma GCC ivdep
  for (long c = 0; c < channels; c++) {
    REAL best = from[0][c];
    TAP best_tap = tap[0];
#define COMPARE(i)                                   \
  if (i < count) {                                   \
    REAL value = from[i][c];                         \
    if (keep) {                                      \
      int taken = (value > best) | (value != value); \
      best = taken ? value : best;                   \
      best_tap = taken ? tap[i] : best_tap;          \
    } else { /* one instruction for the greater */   \
      REAL most = value > best ? value : best;       \
      best = value == value ? most : value;          \
    }                                                \
  }
    COMPARE(1) COMPARE(2) COMPARE(3) COMPARE(4) COMPARE(5) COMPARE(6) COMPARE(7) COMPARE(8)
#undef COMPARE
    y[c] = best;
    if (keep) taps[c] = best_tap;
  }
}

/* One row of outputs of the map x. */
CLONES static void NAME(pool_row)(const REAL *restrict x, REAL *restrict y, uint8_t *restrict taps, const Maps *maps,
                                  long row) {
  long channels = maps->channels, width = out_side(maps->width, maps->stride_x);
  Range rows = window(row, maps->stride_y, maps->height);
  for (long column = 0; column < width; column++, y += channels) {
    const REAL *from[9];
    TAP tap[9];
    int count = 0;
    Range columns = window(column, maps->stride_x, maps->width);
    for (long i = rows.first; i <= rows.last; i++)
      for (long j = columns.first; j <= columns.last; j++) {
        from[count] = x + (i * maps->width + j) * channels;
        tap[count++] = 3 * (i + 1 - row * maps->stride_y) + j + 1 - column * maps->stride_x;
      }
    /* What comes next, of rows not met before. */
    for (long i = rows.last > 0 ? rows.last - maps->stride_y + 1 : 0; i <= rows.last; i++)
      for (long c = 0; c < maps->stride_x * channels; c += 64 / sizeof(REAL))
        __builtin_prefetch(x + (i * maps->width + columns.last + 1) * channels + c);
#define KEPT(n) NAME(greatest)(from, tap, y, taps, channels, n, 1)
#define VALUE(n) NAME(greatest)(from, tap, y, taps, channels, n, 0)
    if (taps) {
      FOR_EACH_COUNT(count, KEPT)
      taps += channels;
    } else {
      FOR_EACH_COUNT(count, VALUE)
    }
#undef KEPT
#undef VALUE
  }
}

static void NAME(forward)(const REAL *x, REAL *y, uint8_t *taps, const Maps *maps, int threads) {
  long height = out_side(maps->height, maps->stride_y), image = maps->height * maps->width * maps->channels;
  long each = out_side(maps->width, maps->stride_x) * maps->channels;
#pragma omp parallel for schedule(static) num_threads(useful(threads, maps))
  for (long row = 0; row < maps->images * height; row++)
    NAME(pool_row)(x + row / height * image, y + row * each, taps ? taps + row * each : taps, maps, row % height);
}

/* dx = the sum of those of `count` gradients whose tap is the one that this pixel is to them. */
INLINE void NAME(add_some)(long first, long channels, const REAL *const *grad, const uint8_t *const *taps,
                           const TAP *tap, REAL *restrict dx, const int count) {
#pragma GCC ivdep
  for (long c = first; c < first + channels; c++) {
    REAL sum = 0;
#define ADD(i)                               \
  if (i < count) {                           \
    REAL value = grad[i][c];                 \
    sum += taps[i][c] == tap[i] ? value : 0; \
  }
    ADD(0) ADD(1) ADD(2) ADD(3) ADD(4) ADD(5) ADD(6) ADD(7) ADD(8)
#undef ADD
    dx[c] = sum;
  }
}

/* The same in loops of a fixed length, which need no code around them, as far as they go. */
INLINE void NAME(add_own)(const REAL *const *grad, const uint8_t *const *taps, const TAP *tap, REAL *restrict dx,
                          long channels, const int count) {
  long done = 0;
  for (; done + 64 <= channels; done += 64) NAME(add_some)(done, 64, grad, taps, tap, dx, count);
  if (done < channels) NAME(add_some)(done, channels - done, grad, taps, tap, dx, count);
}

/* One row of the input's gradient; `grad` and `taps` of the whole image. */
CLONES static void NAME(gather_row)(const REAL *restrict grad, const uint8_t *restrict taps, REAL *restrict dx,
                                    const Maps *maps, long row) {
  long channels = maps->channels, stride_y = maps->stride_y, stride_x = maps->stride_x;
  long width = out_side(maps->width, stride_x);
  Range rows = windows(row, stride_y, maps->height);
  for (long column = 0; column < maps->width; column++, dx += channels) {
    const REAL *grads[9];
    const uint8_t *own[9];
    TAP tap[9];
    int count = 0;
    Range columns = windows(column, stride_x, maps->width);
    for (long y = rows.first; y <= rows.last; y++)
      for (long x = columns.first; x <= columns.last; x++) {
        long at = (y * width + x) * channels;
        grads[count] = grad + at;
        own[count] = taps + at;
        tap[count++] = 3 * (row + 1 - y * stride_y) + column + 1 - x * stride_x;
      }
#define SUM(n) NAME(add_own)(grads, own, tap, dx, channels, n)
    FOR_EACH_COUNT(count, SUM)
#undef SUM
  }
}

static void NAME(backward)(const REAL *grad, const uint8_t *taps, REAL *dx, const Maps *maps, int threads) {
  long own = out_side(maps->height, maps->stride_y) * out_side(maps->width, maps->stride_x) * maps->channels;
  long each = maps->width * maps->channels;
#pragma omp parallel for schedule(static) num_threads(useful(threads, maps))
  for (long row = 0; row < maps->images * maps->height; row++) {
    long image = row / maps->height;
    NAME(gather_row)(grad + image * own, taps + image * own, dx + row * each, maps, row % maps->height);
  }
}
