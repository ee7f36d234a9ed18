/* The loops of _winograd.c for one type of numbers and one instruction set (`_instructions.h`).

   Transformed inputs lie as (point, block of maps, tile, BLOCK), sums of products as (point, tile, output map),
   transformed weights as (point, panel, input map, PANEL): a panel is two vectors of output maps. */

#define PANEL (2 * LANES)

typedef REAL NAME(Vector) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef LANE_INTEGER NAME(Lanes) __attribute__((vector_size(BYTES)));

/* B' x of six values that lie `step` vectors apart. */
static inline void NAME(transform)(const VECTOR *x, long step, VECTOR *to, long to_step) {
  VECTOR a = x[4 * step] - 4 * x[2 * step], b = x[3 * step] - 4 * x[step];
  VECTOR c = x[4 * step] - x[2 * step], d = 2 * (x[3 * step] - x[step]);
  VECTOR first = 4 * x[0] - 5 * x[2 * step] + x[4 * step], last = 4 * x[step] - 5 * x[3 * step] + x[5 * step];
  to[0] = first;
  to[to_step] = a + b;
  to[2 * to_step] = a - b;
  to[3 * to_step] = c + d;
  to[4 * to_step] = c - d;
  to[5 * to_step] = last;
}

/* A' s of six values, four of them. */
static inline void NAME(collect)(const VECTOR *s, long step, VECTOR *to, long to_step) {
  VECTOR a = s[step] + s[2 * step], b = s[step] - s[2 * step];
  VECTOR c = s[3 * step] + s[4 * step], d = s[3 * step] - s[4 * step];
  VECTOR first = s[0] + a + c, last = b + 8 * d + s[5 * step];
  to[0] = first;
  to[to_step] = b + 2 * d;
  to[2 * to_step] = a + 4 * c;
  to[3 * to_step] = last;
}

/* A y of four values, six of them: `collect` turned round. */
static inline void NAME(deal)(const VECTOR *y, long step, VECTOR *to, long to_step) {
  VECTOR a = y[0] + y[2 * step], b = y[step] + y[3 * step];
  VECTOR c = y[0] + 4 * y[2 * step], d = 2 * y[step] + 8 * y[3 * step], first = y[0], last = y[3 * step];
  to[0] = first;
  to[to_step] = a + b;
  to[2 * to_step] = a - b;
  to[3 * to_step] = c + d;
  to[4 * to_step] = c - d;
  to[5 * to_step] = last;
}

/* G w of three values, six of them. */
static inline void NAME(expand)(const VECTOR *w, long step, VECTOR *to, long to_step) {
  VECTOR a = (w[0] + w[2 * step]) * (REAL)(-1.0 / 6), b = w[step] * (REAL)(-1.0 / 6);
  VECTOR c = w[0] * (REAL)(1.0 / 24) + w[2 * step] * (REAL)(1.0 / 6), d = w[step] * (REAL)(1.0 / 12);
  VECTOR first = w[0] * (REAL)0.25, last = w[2 * step];
  to[0] = first;
  to[to_step] = a + b;
  to[2 * to_step] = a - b;
  to[3 * to_step] = c + d;
  to[4 * to_step] = c - d;
  to[5 * to_step] = last;
}

/* G' u of six values, three of them. */
static inline void NAME(shrink)(const VECTOR *u, long step, VECTOR *to, long to_step) {
  VECTOR a = (u[step] + u[2 * step]) * (REAL)(-1.0 / 6), b = (u[step] - u[2 * step]) * (REAL)(-1.0 / 6);
  VECTOR c = u[3 * step] + u[4 * step], d = (u[3 * step] - u[4 * step]) * (REAL)(1.0 / 12);
  VECTOR first = u[0] * (REAL)0.25 + a + c * (REAL)(1.0 / 24), last = a + c * (REAL)(1.0 / 6) + u[5 * step];
  to[0] = first;
  to[to_step] = b + d;
  to[2 * to_step] = last;
}

/* A vector of maps of the pixels of `side` x `side` from a tile's first input (`halo` 1) or output (0) on, else 0. */
static inline void NAME(load_tile)(const REAL *x, long pitch, const Geometry *g, const Place *at, long halo, long side,
                                   VECTOR *to) {
  long d = g->dilation;
  for (long i = 0; i < side; i++) {
    long row = at->row0 + d * (at->row + i - halo);
    for (long j = 0; j < side; j++) {
      long column = at->column0 + d * (at->column + j - halo);
      int inside = row >= 0 && row < g->height && column >= 0 && column < g->width;
      to[i * side + j] = inside ? *(const VECTOR *)(x + ((at->image * g->height + row) * g->width + column) * pitch)
                                : (VECTOR){0};
    }
  }
}

/* B' x B of a tile, into place `tile` of so many `tiles`; `matrix`: values from point to point. */
static void NAME(transform_tile)(const REAL *x, REAL *to, const Geometry *g, const Place *at, long tile, long tiles,
                                 long matrix) {
  VECTOR values[POINTS], half[POINTS];
  for (long c = 0; c < g->channels; c += LANES) {
    REAL *own = to + (c / BLOCK * tiles + tile) * BLOCK + c % BLOCK;
    NAME(load_tile)(x + c, g->x_pitch, g, at, 1, SPAN, values);
    for (long j = 0; j < SPAN; j++) NAME(transform)(values + j, SPAN, half + j, SPAN);
    for (long i = 0; i < SPAN; i++) {
      VECTOR row[SPAN];
      NAME(transform)(half + i * SPAN, 1, row, 1);
      for (long j = 0; j < SPAN; j++) *(VECTOR *)(own + (i * SPAN + j) * matrix) = row[j];
    }
  }
}

/* A' s A of a tile's sums, plus the bias and, to `add`, what is there; or the ReLU of all that. */
static void NAME(collect_tile)(const REAL *sums, REAL *y, const REAL *bias, int relu, int add, const Geometry *g,
                               const Place *at, long matrix) {
  VECTOR half[TILE * SPAN], done[TILE * TILE];
  long d = g->dilation;
  for (long m = 0; m < g->maps; m += LANES) {
    VECTOR points[POINTS], own = bias ? *(const VECTOR *)(bias + m) : (VECTOR){0};
    for (long p = 0; p < POINTS; p++) points[p] = *(const VECTOR *)(sums + p * matrix + m);
    for (long j = 0; j < SPAN; j++) NAME(collect)(points + j, SPAN, half + j, SPAN);
    for (long i = 0; i < TILE; i++) NAME(collect)(half + i * SPAN, 1, done + i * TILE, 1);
    for (long i = 0; i < TILE; i++)
      for (long j = 0; j < TILE; j++) {
        long row = at->row0 + d * (at->row + i), column = at->column0 + d * (at->column + j);
        if (row >= g->height || column >= g->width) continue;
        VECTOR *to = (VECTOR *)(y + ((at->image * g->height + row) * g->width + column) * g->y_pitch + m);
        VECTOR value = done[i * TILE + j] + own;
        if (add) value += *to;
        if (relu) value = (VECTOR)((NAME(Lanes))value & ~(value < 0)); /* not a number stays what it is */
        *to = value;
      }
  }
}

/* A y A' of a tile of the gradient, into (point, tile, map). */
static void NAME(deal_tile)(const REAL *grad, REAL *to, const Geometry *g, const Place *at, long matrix) {
  VECTOR values[TILE * TILE], half[SPAN * TILE];
  for (long m = 0; m < g->maps; m += LANES) {
    NAME(load_tile)(grad + m, g->y_pitch, g, at, 0, TILE, values);
    for (long j = 0; j < TILE; j++) NAME(deal)(values + j, TILE, half + j, TILE);
    for (long i = 0; i < SPAN; i++) {
      VECTOR row[SPAN];
      NAME(deal)(half + i * TILE, 1, row, 1);
      for (long j = 0; j < SPAN; j++) *(VECTOR *)(to + (i * SPAN + j) * matrix + m) = row[j];
    }
  }
}

/* sums[r][...] = sum over the maps of x[r][map] * w[map][...]: R tiles, one panel. `next`: values from block to block. */
#define PRODUCTS(R)                                                                                                  \
  static __attribute__((noinline)) void NAME(products_##R)(const REAL *x, long next, long maps, const REAL *w,       \
                                                           REAL *sums, long step) {                                  \
    VECTOR sum[R][2];                                                                                                \
    REPEAT(r, R) sum[r][0] = sum[r][1] = (VECTOR){0};                                                                \
    for (long first = 0; first < maps; first += BLOCK, x += next)                                                    \
      for (long c = 0, end = maps - first < BLOCK ? maps - first : BLOCK; c < end; c++, w += PANEL) {                \
        VECTOR left = *(const VECTOR *)w, right = *(const VECTOR *)(w + LANES);                                      \
        REPEAT(r, R) {                                                                                               \
          VECTOR value = (VECTOR){0} + x[r * BLOCK + c];                                                             \
          IN_REGISTER(value);                                                                                        \
          sum[r][0] += value * left;                                                                                 \
          sum[r][1] += value * right;                                                                                \
        }                                                                                                            \
      }                                                                                                              \
    REPEAT(r, R) {                                                                                                   \
      *(VECTOR *)(sums + r * step) = sum[r][0];                                                                      \
      *(VECTOR *)(sums + r * step + LANES) = sum[r][1];                                                              \
    }                                                                                                                \
  }

/* into[r][...] += sum over the tiles of x[tile][r] * y[tile][...]: R input maps, one panel. */
#define OUTER(R)                                                                                                     \
  static __attribute__((noinline)) void NAME(outer_##R)(const REAL *x, const REAL *y, long step, long tiles,         \
                                                        REAL *into, long width) {                                    \
    VECTOR sum[R][2];                                                                                                \
    REPEAT(r, R) sum[r][0] = sum[r][1] = (VECTOR){0};                                                                \
    for (long tile = 0; tile < tiles; tile++, x += BLOCK, y += step) {                                               \
      VECTOR left = *(const VECTOR *)y, right = *(const VECTOR *)(y + LANES);                                        \
      REPEAT(r, R) {                                                                                                 \
        VECTOR value = (VECTOR){0} + x[r];                                                                           \
        IN_REGISTER(value);                                                                                          \
        sum[r][0] += value * left;                                                                                   \
        sum[r][1] += value * right;                                                                                  \
      }                                                                                                              \
    }                                                                                                                \
    REPEAT(r, R) {                                                                                                   \
      *(VECTOR *)(into + r * width) += sum[r][0];                                                                    \
      *(VECTOR *)(into + r * width + LANES) += sum[r][1];                                                            \
    }                                                                                                                \
  }

PRODUCTS(1) PRODUCTS(2) PRODUCTS(4) PRODUCTS(5) PRODUCTS(6)
typedef void (*NAME(Products))(const REAL *, long, long, const REAL *, REAL *, long);
#if ROOMY
PRODUCTS(8) PRODUCTS(9) PRODUCTS(10) PRODUCTS(11) PRODUCTS(12) PRODUCTS(13) PRODUCTS(14)
#define ROWS_OF {1, 2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14}
static const NAME(Products) NAME(products)[] = {
    NAME(products_1),  NAME(products_2),  NAME(products_4),  NAME(products_5),  NAME(products_6),  NAME(products_8),
    NAME(products_9),  NAME(products_10), NAME(products_11), NAME(products_12), NAME(products_13), NAME(products_14)};
#define OUTER_ROWS 8
OUTER(8)
#define OUTER_OF NAME(outer_8)
#else
#define ROWS_OF {1, 2, 4, 5, 6}
static const NAME(Products) NAME(products)[] = {NAME(products_1), NAME(products_2), NAME(products_4), NAME(products_5),
                                                NAME(products_6)};
#define OUTER_ROWS 4
OUTER(4)
#define OUTER_OF NAME(outer_4)
#endif

static const long NAME(rows)[] = ROWS_OF;
enum { NAME(row_kinds) = sizeof NAME(rows) / sizeof *NAME(rows) };

/* The kernel of fewest steps for so many tiles, a step costing its rows and some more. */
static int NAME(best_rows)(long tiles) {
  int best = 0;
  long least = 0;
  for (int i = 0; i < NAME(row_kinds); i++) {
    long rows = NAME(rows)[i], cost = (tiles + rows - 1) / rows * (2 * rows + 3);
    if (!i || cost <= least) best = i, least = cost;
  }
  return best;
}

static void NAME(weights)(const REAL *weight, const long *steps, REAL *to, long channels, long maps, int threads) {
  long panels = round_up(maps, PANEL) / PANEL, matrix = panels * channels * PANEL;
#pragma omp parallel for collapse(2) schedule(static) num_threads(threads)
  for (long panel = 0; panel < panels; panel++)
    for (long c = 0; c < channels; c++)
      for (long part = 0; part < 2; part++) {
        VECTOR taps[9], half[18], row[SPAN];
        long first = panel * PANEL + part * LANES;
        for (long tap = 0; tap < 9; tap++)
          for (long lane = 0; lane < LANES; lane++)
            taps[tap][lane] = first + lane < maps ? weight[(first + lane) * steps[0] + c * steps[1] +
                                                          tap / 3 * steps[2] + tap % 3 * steps[3]]
                                                  : 0;
        for (long j = 0; j < 3; j++) NAME(expand)(taps + j, 3, half + j, 3);
        for (long i = 0; i < SPAN; i++) {
          NAME(expand)(half + 3 * i, 1, row, 1);
          for (long j = 0; j < SPAN; j++)
            *(VECTOR *)(to + (i * SPAN + j) * matrix + (panel * channels + c) * PANEL + part * LANES) = row[j];
        }
      }
}

/* `own`: the transformed weights, if they are at hand. */
static int NAME(forward)(const REAL *x, const REAL *weight, const long *steps, const REAL *own, const REAL *bias,
                         int relu, int add, REAL *y, const Geometry *g, int threads) {
  Tiling of = tiling(g);
  int best = NAME(best_rows)(of.chunk);
  long rows = NAME(rows)[best], tiles = round_up(of.chunk, rows), panels = round_up(g->maps, PANEL) / PANEL;
  long blocks = round_up(g->channels, BLOCK) / BLOCK, width = panels * PANEL;
  long matrix = apart(blocks * tiles, BLOCK), sums_matrix = apart(tiles, width);
  int is_kept;
  REAL *memory = take(POINTS * (matrix + sums_matrix + (own ? 0 : g->channels * width)) * sizeof(REAL), &is_kept);
  REAL *inputs = memory, *sums = inputs + POINTS * matrix, *made = sums + POINTS * sums_matrix;
  if (memory && !own) NAME(weights)(weight, steps, made, g->channels, g->maps, threads);
  if (!own) own = made;
  if (memory)
#pragma omp parallel num_threads(threads)
    for (long first = 0; first < of.all; first += of.chunk) {
      long count = of.all - first < of.chunk ? of.all - first : of.chunk;
#pragma omp for schedule(static)
      for (long tile = 0; tile < count; tile++) {
        Place at = place(g, &of, first + tile);
        NAME(transform_tile)(x, inputs, g, &at, tile, tiles, matrix);
      }
#pragma omp for collapse(2) schedule(static)
      for (long point = 0; point < POINTS; point++)
        for (long panel = 0; panel < panels; panel++)
          for (long tile = 0; tile < count; tile += rows)
            NAME(products)[best](inputs + point * matrix + tile * BLOCK, tiles * BLOCK, g->channels,
                                 own + (point * panels + panel) * g->channels * PANEL,
                                 sums + point * sums_matrix + tile * width + panel * PANEL, width);
#pragma omp for schedule(static)
      for (long tile = 0; tile < count; tile++) {
        Place at = place(g, &of, first + tile);
        NAME(collect_tile)(sums + tile * width, y, bias, relu, add, g, &at, sums_matrix);
      }
    }
  give_back(memory, is_kept);
  return memory ? 0 : -1;
}

/* G' u G of one vector of output maps, where the weights' gradient has it. */
static void NAME(shrink_kernel)(const REAL *sums, long matrix, REAL *dw, const long *steps, long lanes) {
  VECTOR points[POINTS], half[18], row[3];
  for (long p = 0; p < POINTS; p++) points[p] = *(const VECTOR *)(sums + p * matrix);
  for (long j = 0; j < SPAN; j++) NAME(shrink)(points + j, SPAN, half + j, SPAN);
  for (long i = 0; i < 3; i++) {
    NAME(shrink)(half + i * SPAN, 1, row, 1);
    for (long j = 0; j < 3; j++)
      for (long lane = 0; lane < lanes; lane++) dw[lane * steps[0] + i * steps[2] + j * steps[3]] = row[j][lane];
  }
}

static int NAME(weight_gradient)(const REAL *x, const REAL *grad, REAL *dw, const long *steps, const Geometry *g,
                                 int threads) {
  Tiling of = tiling(g);
  long blocks = round_up(g->channels, BLOCK) / BLOCK, width = round_up(g->maps, PANEL);
  long matrix = apart(blocks * of.chunk, BLOCK), grad_matrix = apart(of.chunk, width);
  long sums_matrix = apart(g->channels, width);
  int is_kept;
  REAL *memory = take(POINTS * (matrix + grad_matrix + sums_matrix) * sizeof(REAL), &is_kept);
  REAL *inputs = memory, *grads = inputs + POINTS * matrix, *sums = grads + POINTS * grad_matrix;
  if (memory) memset(sums, 0, POINTS * sums_matrix * sizeof(REAL));
  if (memory)
#pragma omp parallel num_threads(threads)
  {
    for (long first = 0; first < of.all; first += of.chunk) {
      long count = of.all - first < of.chunk ? of.all - first : of.chunk;
#pragma omp for schedule(static)
      for (long tile = 0; tile < count; tile++) {
        Place at = place(g, &of, first + tile);
        NAME(transform_tile)(x, inputs, g, &at, tile, of.chunk, matrix);
        NAME(deal_tile)(grad, grads + tile * width, g, &at, grad_matrix);
      }
#pragma omp for collapse(2) schedule(static)
      for (long point = 0; point < POINTS; point++)
        for (long c = 0; c < g->channels; c += OUTER_ROWS)
          for (long m = 0; m < width; m += PANEL)
            OUTER_OF(inputs + point * matrix + c / BLOCK * of.chunk * BLOCK + c % BLOCK,
                     grads + point * grad_matrix + m, width, count, sums + point * sums_matrix + c * width + m, width);
    }
#pragma omp for collapse(2) schedule(static)
    for (long c = 0; c < g->channels; c++)
      for (long m = 0; m < g->maps; m += LANES)
        NAME(shrink_kernel)(sums + c * width + m, sums_matrix, dw + m * steps[0] + c * steps[1], steps, LANES);
  }
  give_back(memory, is_kept);
  return memory ? 0 : -1;
}

#undef PRODUCTS
#undef OUTER
#undef OUTER_ROWS
#undef OUTER_OF
#undef ROWS_OF
#undef PANEL
