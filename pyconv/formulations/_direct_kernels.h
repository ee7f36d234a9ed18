/* The loops of _direct.c for one type of numbers and one instruction set; included once for each pair of them.

   REAL: float or double. LANE_INTEGER: an integer of REAL's size. BYTES: of a vector register. WIDEST: LANES, as a
   number for the preprocessor. NAME(x): x with a suffix of its own. ROOMY: 1 where there are 32 registers, 0 for 16. */

#define LANES ((long)(BYTES / sizeof(REAL)))
#define PAIR (1 + ROOMY) /* maps at once, at most */
#define REPEAT(name, limit) _Pragma("GCC unroll 32") for (int name = 0; name < (limit); name++)

typedef REAL NAME(Vector) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef LANE_INTEGER NAME(Lanes) __attribute__((vector_size(BYTES)));
#define VECTOR NAME(Vector)

/* How channels lie in lanes. A unit is what can be computed by itself: LANES input maps, or one group of more. */
typedef struct {
  long per_group;  /* input maps of a group */
  long maps;       /* output maps of a group */
  long lanes;      /* neighbouring lanes that belong to one group */
  long blocks;     /* vectors of a unit's input maps */
  long groups;     /* groups of a unit */
  long units;
  long taps;
} NAME(Layout);
#define LAYOUT NAME(Layout)

static LAYOUT NAME(layout)(const Geometry *g) {
  LAYOUT of;
  of.per_group = g->channels / g->groups;
  of.maps = g->maps / g->groups;
  of.lanes = of.per_group < LANES ? of.per_group : LANES;
  of.blocks = of.per_group / of.lanes;
  of.groups = LANES / of.lanes;
  of.units = g->channels / (of.blocks * LANES);
  of.taps = g->kernel[0] * g->kernel[1] * g->kernel[2];
  return of;
}

/* Where in `weight` stands what lane `lane` of vector `block` multiplies for output map `map` of its group. */
static inline long NAME(weight_at)(const Geometry *g, const LAYOUT *of, long unit, long block, long map, long lane) {
  long group = unit * of->groups + lane / of->lanes;
  return (group * of->maps + map) * g->weight_step[0] + (block * LANES + lane % of->lanes) * g->weight_step[1];
}

static inline long NAME(tap_at)(const Geometry *g, long t, long y, long x) {
  return t * g->weight_step[2] + y * g->weight_step[3] + x * g->weight_step[4];
}

static inline void NAME(pack)(const REAL *weight, const Geometry *g, const LAYOUT *of, long unit, long block, long map,
                              REAL *to) {
  for (long lane = 0; lane < LANES; lane++) to[lane] = weight[NAME(weight_at)(g, of, unit, block, map, lane)];
}

/* Rows [top, top + rows) of one frame of a unit's input maps, `width` pixels from -pad on, zeros outside. */
static void NAME(fill)(const REAL *x, REAL *to, const Geometry *g, const LAYOUT *of, long unit, long image, long frame,
                       long top, long rows, long width, long plane) {
  long size = LANES * sizeof(REAL), left = g->pad[2] < width ? g->pad[2] : width;
  long inside = g->in[2] < width - left ? g->in[2] : width - left, right = width - left - inside;
  for (long block = 0; block < of->blocks; block++)
    for (long r = 0; r < rows; r++) {
      REAL *row = to + block * plane + r * width * LANES;
      long y = top + r;
      if (y < 0 || y >= g->in[1]) {
        memset(row, 0, width * size);
        continue;
      }
      const REAL *from = x + (((image * g->in[0] + frame) * g->in[1] + y) * g->in[2]) * g->channels +
                         (unit * of->blocks + block) * LANES;
      memset(row, 0, left * size);
      row += left * LANES;
      for (long i = 0; i < inside; i++, row += LANES, from += g->channels) *(VECTOR *)row = *(const VECTOR *)from;
      memset(row, 0, right * size);
    }
}

/* Rows of a frame of a unit's output gradient, for each map of a group, in the lanes of the group's input maps. */
static void NAME(spread)(const REAL *grad, REAL *to, const Geometry *g, const LAYOUT *of, long unit, long image,
                         long frame, long top, long rows, long first, long width, long plane) {
  long count = of->groups * of->maps, last = g->images * g->out[0] * g->out[1] * g->out[2] * g->pitch;
  int whole = count <= LANES;
  for (long map = 0; map < of->maps; map++) {
    NAME(Lanes) from_lane;
    for (long lane = 0; lane < LANES; lane++) from_lane[lane] = (lane / of->lanes) * of->maps + map;
    for (long r = 0; r < rows; r++) {
      REAL *row = to + map * plane + r * width * LANES;
      long y = top + r;
      if (y < 0 || y >= g->out[1]) {
        memset(row, 0, width * LANES * sizeof(REAL));
        continue;
      }
      long start = (((image * g->out[0] + frame) * g->out[1] + y) * g->out[2]) * g->pitch + unit * count;
      for (long i = 0; i < width; i++, row += LANES) {
        long x = first + i, at = start + x * g->pitch;
        if (x < 0 || x >= g->out[2])
          *(VECTOR *)row = (VECTOR){0};
        else if (of->groups == 1)
          *(VECTOR *)row = (VECTOR){0} + grad[at + map];
        else if (whole && at + LANES <= last - g->offset)
          *(VECTOR *)row = __builtin_shuffle(*(const VECTOR *)(grad + at), from_lane);
        else
          for (long lane = 0; lane < LANES; lane++) row[lane] = grad[at + (lane / of->lanes) * of->maps + map];
      }
    }
  }
}

/* sums[p][m] = sum over i of x[offsets[i] + p * STEP] * w[i][m], lane by lane: P positions, M maps in registers. */
#define SUMS(M, P, STEP)                                                                                              \
  static __attribute__((noinline)) void NAME(sums_##M##_##P##_##STEP)(                                                \
      const REAL *x, const long *offsets, long count, const REAL *w, long w_step, VECTOR *sums) {                     \
    VECTOR sum[P][M];                                                                                                 \
    REPEAT(p, P) REPEAT(m, M) sum[p][m] = (VECTOR){0};                                                                \
    for (long i = 0; i < count; i++, w += w_step) {                                                                   \
      const REAL *at = x + offsets[i];                                                                                \
      VECTOR weights[M];                                                                                              \
      REPEAT(m, M) weights[m] = *(const VECTOR *)(w + m * LANES);                                                     \
      REPEAT(p, P) {                                                                                                  \
        VECTOR value = *(const VECTOR *)(at + p * STEP * LANES);                                                      \
        if (M > 1) IN_REGISTER(value);                                                                                \
        REPEAT(m, M) sum[p][m] += value * weights[m];                                                                 \
      }                                                                                                               \
    }                                                                                                                 \
    REPEAT(p, P) REPEAT(m, M) sums[p * M + m] = sum[p][m];                                                            \
  }
#if ROOMY
#define WIDTHS_OF(X, M, STEP) X(M, 14, STEP) X(M, 12, STEP) X(M, 10, STEP) X(M, 8, STEP) X(M, 7, STEP)
#else
#define WIDTHS_OF(X, M, STEP) X(M, 12, STEP) X(M, 10, STEP) X(M, 8, STEP) X(M, 7, STEP) X(M, 6, STEP)
#endif
WIDTHS_OF(SUMS, 1, 1)
WIDTHS_OF(SUMS, 1, 2)
#if ROOMY
WIDTHS_OF(SUMS, 2, 1)
WIDTHS_OF(SUMS, 2, 2)
#endif

typedef void (*NAME(Sums))(const REAL *, const long *, long, const REAL *, long, VECTOR *);
#define NAMED(M, P, STEP) NAME(sums_##M##_##P##_##STEP),
static const NAME(Sums) NAME(kernels)[2][PAIR][WIDTHS] = {
#if ROOMY
    {{WIDTHS_OF(NAMED, 1, 1)}, {WIDTHS_OF(NAMED, 2, 1)}},
    {{WIDTHS_OF(NAMED, 1, 2)}, {WIDTHS_OF(NAMED, 2, 2)}},
#else
    {{WIDTHS_OF(NAMED, 1, 1)}},
    {{WIDTHS_OF(NAMED, 1, 2)}},
#endif
};
#define WIDTH_ONLY(M, P, STEP) P,
static const long NAME(positions)[WIDTHS] = {WIDTHS_OF(WIDTH_ONLY, 1, 1)};

/* Lane l of the result: the sum over the lanes of l's group of vector number l % lanes. */
static inline VECTOR NAME(both)(VECTOR a, VECTOR b, int bit) {
  NAME(Lanes) same, crossed;
  REPEAT(l, (int)LANES) {
    same[l] = l & bit ? LANES + l : l;
    crossed[l] = l & bit ? LANES + (l ^ bit) : (l ^ bit);
  }
  return __builtin_shuffle(a, b, same) + __builtin_shuffle(a, b, crossed);
}

#define TREE(lanes, half, bit)                                                      \
  static inline VECTOR NAME(tree_##lanes)(const VECTOR *v) {                        \
    return NAME(both)(NAME(tree_##half)(v), NAME(tree_##half)(v + (half)), (bit));  \
  }
static inline VECTOR NAME(tree_1)(const VECTOR *v) { return v[0]; }
TREE(2, 1, 1)
#if WIDEST >= 4
TREE(4, 2, 2)
#endif
#if WIDEST >= 8
TREE(8, 4, 4)
#endif
#if WIDEST >= 16
TREE(16, 8, 8)
#endif

static VECTOR NAME(tree)(const VECTOR *v, long lanes) {
  switch (lanes) {
    case 2: return NAME(tree_2)(v);
#if WIDEST >= 4
    case 4: return NAME(tree_4)(v);
#endif
#if WIDEST >= 8
    case 8: return NAME(tree_8)(v);
#endif
#if WIDEST >= 16
    case 16: return NAME(tree_16)(v);
#endif
    default: return v[0];
  }
}

/* How the sums of `maps` maps of every group go from lanes to memory: ordered by position, group, map. */
typedef struct {
  NAME(Lanes) order;
  VECTOR bias;
  long positions; /* in a vector */
  long run;       /* maps that lie side by side */
  long runs;
  long step;      /* from run to run */
} NAME(Store);

static NAME(Store) NAME(store)(const LAYOUT *of, long maps, const REAL *bias) {
  NAME(Store) to;
  int whole = maps == of->maps;
  to.positions = of->lanes / maps;
  to.run = whole ? of->groups * maps : maps;
  to.runs = whole ? 1 : of->groups;
  to.step = of->maps;
  for (long lane = 0; lane < LANES; lane++) {
    long position = lane / (of->groups * maps), group = lane / maps % of->groups, map = lane % maps;
    to.order[lane] = group * of->lanes + position * maps + map;
    to.bias[lane] = bias ? bias[group * of->maps + map] : 0;
  }
  return to;
}

static inline void NAME(copy)(REAL *to, const REAL *from, long count) {
  switch (count) {
    case 1: *to = *from; break;
    case 2: memcpy(to, from, 2 * sizeof(REAL)); break;
    case 4: memcpy(to, from, 4 * sizeof(REAL)); break;
    case 8: memcpy(to, from, 8 * sizeof(REAL)); break;
    default: memcpy(to, from, count * sizeof(REAL));
  }
}

/* Write the outputs of `positions` positions: sums[p][m], spread over the lanes of their groups. */
static void NAME(write)(const VECTOR *sums, long positions, long maps, long lanes, const NAME(Store) *by, REAL *to,
                        long pitch) {
  for (long first = 0; first < positions; first += by->positions) {
    VECTOR found = __builtin_shuffle(NAME(tree)(sums + first * maps, lanes), by->order) + by->bias;
    REAL lane[BYTES / sizeof(REAL)];
    const REAL *from = lane;
    memcpy(lane, &found, sizeof lane);
    long end = positions - first < by->positions ? positions - first : by->positions;
    for (long i = 0; i < end; i++, to += pitch)
      for (long run = 0; run < by->runs; run++, from += by->run) NAME(copy)(to + run * by->step, from, by->run);
  }
}

static int NAME(forward)(const REAL *x, const REAL *weight, const REAL *bias, REAL *y, const Geometry *g, int threads) {
  LAYOUT of = NAME(layout)(g);
  int width = best_width(g->out[2], NAME(positions));
  long step_p = NAME(positions)[width], inner = of.taps * of.blocks * of.maps * LANES, failed = 0;
  long columns = odd((round_up(g->out[2], step_p) - 1) * g->stride[2] + (g->kernel[2] - 1) * g->dilation[2] + 1);
  long reach = (g->kernel[1] - 1) * g->dilation[1] + 1, band = g->out[1];
  long each = g->kernel[0] * of.blocks * columns * LANES * sizeof(REAL);
  while (band > 1 && ((band - 1) * g->stride[1] + reach) * each > CACHE) band = (band + 1) / 2;
  long bands = round_up(g->out[1], band) / band, rows = (band - 1) * g->stride[1] + reach;
  long frame_size = rows * columns * LANES, plane = g->kernel[0] * frame_size;
  REAL *packed = space(of.units * inner * sizeof(REAL));
  long *offsets = space(of.taps * of.blocks * sizeof(long));
  if (!packed || !offsets) return free(packed), free(offsets), -1;
  long *offset = offsets;
  for (long t = 0; t < g->kernel[0]; t++)
    for (long v = 0; v < g->kernel[1]; v++)
      for (long u = 0; u < g->kernel[2]; u++)
        for (long block = 0; block < of.blocks; block++)
          *offset++ = block * plane + t * frame_size + (v * g->dilation[1] * columns + u * g->dilation[2]) * LANES;
#pragma omp parallel num_threads(threads)
  {
    REAL *buffer = space(of.blocks * plane * sizeof(REAL));
    VECTOR sums[2 * 16 + 16] __attribute__((aligned(64)));
    memset(sums, 0, sizeof sums);
    if (!buffer) {
#pragma omp atomic write
      failed = 1;
    }
#pragma omp for schedule(static)
    for (long unit = 0; unit < of.units; unit++) {
      REAL *to = packed + unit * inner;
      for (long t = 0; t < g->kernel[0]; t++)
        for (long v = 0; v < g->kernel[1]; v++)
          for (long u = 0; u < g->kernel[2]; u++)
            for (long block = 0; block < of.blocks; block++)
              for (long map = 0; map < of.maps; map++, to += LANES)
                NAME(pack)(weight + NAME(tap_at)(g, t, v, u), g, &of, unit, block, map, to);
    }
#pragma omp for collapse(3) schedule(static)
    for (long image = 0; image < g->images; image++)
      for (long frame = 0; frame < g->out[0]; frame++)
        for (long b = 0; b < bands; b++) {
          if (!buffer) continue;
          long top = b * band, bottom = top + band < g->out[1] ? top + band : g->out[1];
          long first = frame * g->stride[0] - g->pad[0], begin, end;
          inside(first, g->dilation[0], g->kernel[0], g->in[0], &begin, &end);
          long part = g->kernel[1] * g->kernel[2] * of.blocks;
          for (long unit = 0; unit < of.units; unit++) {
            for (long t = begin; t < end; t++)
              NAME(fill)(x, buffer + t * frame_size, g, &of, unit, image, first + t * g->dilation[0],
                         top * g->stride[1] - g->pad[1], (bottom - top - 1) * g->stride[1] + reach, columns, plane);
            for (long map = 0, maps; map < of.maps; map += maps) {
              maps = of.maps - map < PAIR ? 1 : PAIR;
              long at = unit * of.groups * of.maps + map;
              NAME(Sums) kernel = NAME(kernels)[g->stride[2] - 1][maps - 1][width];
              NAME(Store) by = NAME(store)(&of, maps, bias ? bias + at : bias);
              const REAL *w = packed + unit * inner + (begin * part * of.maps + map) * LANES;
              for (long column = 0; column < g->out[2]; column += step_p)
                for (long row = top; row < bottom; row++) {
                  const REAL *from =
                      buffer + ((row - top) * g->stride[1] * columns + column * g->stride[2]) * LANES;
                  long left = g->out[2] - column;
                  kernel(from, offsets + begin * part, (end - begin) * part, w, of.maps * LANES, sums);
                  NAME(write)(sums, left < step_p ? left : step_p, maps, of.lanes, &by,
                              y + (((image * g->out[0] + frame) * g->out[1] + row) * g->out[2] + column) * g->pitch + at,
                              g->pitch);
                }
            }
          }
        }
    free(buffer);
  }
  free(packed);
  free(offsets);
  return failed ? -1 : 0;
}

/* Gradient of the input. Per axis, taps fall into classes by the remainder of the input position that they reach:
   input position r + stride * j gets grad[j + base] through tap k of class r. */
static int NAME(input_gradient)(const REAL *grad, const REAL *weight, REAL *dx, const Geometry *g, int accumulate,
                                int threads) {
  LAYOUT of = NAME(layout)(g);
  Class *axes[3] = {NULL, NULL, NULL};
  long pair = of.blocks % PAIR ? 1 : PAIR, most_taps = of.taps, failed = 0;
  long unit_size = of.taps * of.maps * of.blocks * LANES;
  REAL *packed = space(of.units * unit_size * sizeof(REAL));
  for (int axis = 0; axis < 3; axis++) axes[axis] = classes(g, axis);
  if (!packed || !axes[0] || !axes[1] || !axes[2]) {
    failed = 1;
    goto end;
  }
  long per_row = round_up(g->in[2], g->stride[2]) / g->stride[2], per_column = round_up(g->in[1], g->stride[1]) / g->stride[1];
  int width = best_width(per_row, NAME(positions));
  long step_p = NAME(positions)[width];
  long columns = odd(round_up(per_row, step_p) + (g->kernel[2] - 1) * g->dilation[2] / g->stride[2] + 1);
  long reach = (g->kernel[1] - 1) * g->dilation[1] / g->stride[1] + 1, band = per_column;
  long each = g->kernel[0] * of.maps * columns * LANES * sizeof(REAL);
  while (band > 1 && (band + reach) * each > CACHE) band = (band + 1) / 2;
  long bands = round_up(per_column, band) / band, rows = band + reach;
  long frame_size = rows * columns * LANES, plane = g->kernel[0] * frame_size;
#pragma omp parallel num_threads(threads)
  {
    REAL *buffer = space(of.maps * plane * sizeof(REAL));
    long *offsets = space(most_taps * of.maps * sizeof(long));
    VECTOR sums[2 * 16] __attribute__((aligned(64)));
    if (!buffer || !offsets) {
#pragma omp atomic write
      failed = 1;
    }
#pragma omp for schedule(static)
    for (long unit = 0; unit < of.units; unit++) {
      REAL *to = packed + unit * unit_size;
      for (long first = 0; first < of.blocks; first += pair)
        EACH_CLASS(t, v, u)
          for (long a = 0; a < t->count; a++)
            for (long b = 0; b < v->count; b++)
              for (long c = 0; c < u->count; c++)
                for (long map = 0; map < of.maps; map++)
                  for (long block = first; block < first + pair; block++, to += LANES)
                    NAME(pack)(weight + NAME(tap_at)(g, t->tap[a], v->tap[b], u->tap[c]), g, &of, unit, block, map, to);
    }
#pragma omp for collapse(3) schedule(static)
    for (long image = 0; image < g->images; image++)
      for (long frame = 0; frame < g->in[0]; frame++)
        for (long b = 0; b < bands; b++) {
          if (!buffer || !offsets) continue;
          const Class *t = &axes[0][frame % g->stride[0]];
          long j = frame / g->stride[0], begin = 0, end = t->count;
          while (begin < end && j + t->base[begin] >= g->out[0]) begin++;
          while (end > begin && j + t->base[end - 1] < 0) end--;
          for (long unit = 0; unit < of.units; unit++) {
            const REAL *w = packed + unit * unit_size;
            for (long cv = 0; cv < g->stride[1]; cv++)
              for (long cu = 0; cu < g->stride[2]; cu++) {
                const Class *v = &axes[1][cv], *u = &axes[2][cu];
                long top = b * band, bottom = (g->in[1] - cv + g->stride[1] - 1) / g->stride[1];
                long across = (g->in[2] - cu + g->stride[2] - 1) / g->stride[2];
                if (bottom > top + band) bottom = top + band;
                if (bottom <= top || across <= 0) continue;
                long low_v = v->count ? v->base[v->count - 1] : 0, low_u = u->count ? u->base[u->count - 1] : 0;
                long high_v = v->count ? v->base[0] : 0, taps = v->count * u->count, i = 0;
                for (long a = begin; a < end && taps; a++)
                  NAME(spread)(grad, buffer + a * frame_size, g, &of, unit, image, j + t->base[a], top + low_v,
                               bottom - top + high_v - low_v, low_u, columns, plane);
                for (long a = begin; a < end; a++)
                  for (long e = 0; e < v->count; e++)
                    for (long f = 0; f < u->count; f++)
                      for (long map = 0; map < of.maps; map++)
                        offsets[i++] = map * plane + a * frame_size +
                                       ((v->base[e] - low_v) * columns + u->base[f] - low_u) * LANES;
                long before = taps_before(axes, g, frame % g->stride[0], cv, cu) + begin * taps;
                for (long first = 0; first < of.blocks; first += pair) {
                  const REAL *own = w + ((first / pair) * of.taps + before) * of.maps * pair * LANES;
                  for (long column = 0; column < across; column += step_p)
                    for (long row = top; row < bottom; row++) {
                      NAME(kernels)[0][pair - 1][width](buffer + ((row - top) * columns + column) * LANES, offsets, i,
                                                        own, pair * LANES, sums);
                      long left = across - column < step_p ? across - column : step_p;
                      REAL *out = dx + (((image * g->in[0] + frame) * g->in[1] + cv + row * g->stride[1]) * g->in[2] +
                                        cu + column * g->stride[2]) * g->channels + (unit * of.blocks + first) * LANES;
                      for (long p = 0; p < left; p++, out += g->stride[2] * g->channels)
                        for (long m = 0; m < pair; m++) {
                          VECTOR *at = (VECTOR *)(out + m * LANES);
                          if (accumulate)
                            *at += sums[p * pair + m];
                          else
                            *at = sums[p * pair + m];
                        }
                    }
                }
              }
          }
        }
    free(buffer);
    free(offsets);
  }
end:
  free(packed);
  for (int axis = 0; axis < 3; axis++) free(axes[axis]);
  return failed ? -1 : 0;
}

/* into[k * into_step + m] += sum over rows and columns of x[k] * grad[m], lane by lane: K taps of a row, M maps. */
#define TAPS(K, M)                                                                                                   \
  static __attribute__((noinline)) void NAME(taps_##K##_##M)(const REAL *x, const Steps *s, const REAL *grad,        \
                                                             REAL *into) {                                           \
    VECTOR sum[K][M];                                                                                                \
    REPEAT(k, K) REPEAT(m, M) sum[k][m] = (VECTOR){0};                                                               \
    for (long row = 0; row < s->rows; row++) {                                                                       \
      const REAL *from = x + row * s->x_row, *by = grad + row * s->grad_row;                                         \
      for (long column = 0; column < s->columns; column++, from += s->x_column, by += LANES) {                       \
        VECTOR each[M];                                                                                              \
        REPEAT(m, M) each[m] = *(const VECTOR *)(by + m * s->map);                                                   \
        REPEAT(k, K) {                                                                                               \
          VECTOR value = *(const VECTOR *)(from + k * s->tap);                                                       \
        if (M > 1) IN_REGISTER(value);                                                                             \
          REPEAT(m, M) sum[k][m] += value * each[m];                                                                 \
        }                                                                                                            \
      }                                                                                                              \
    }                                                                                                                \
    REPEAT(k, K) REPEAT(m, M) *(VECTOR *)(into + k * s->into + m * LANES) += sum[k][m];                              \
  }
TAPS(1, 1) TAPS(3, 1) TAPS(5, 1) TAPS(7, 1) TAPS(9, 1) TAPS(1, 2) TAPS(3, 2) TAPS(5, 2)
#if ROOMY
TAPS(7, 2) TAPS(9, 2) TAPS(1, 4) TAPS(3, 4) TAPS(5, 4)
#endif

typedef void (*NAME(Taps))(const REAL *, const Steps *, const REAL *, REAL *);
static const NAME(Taps) NAME(tap_kernels)[3][5] = {
    {NAME(taps_1_1), NAME(taps_3_1), NAME(taps_5_1), NAME(taps_7_1), NAME(taps_9_1)},
#if ROOMY
    {NAME(taps_1_2), NAME(taps_3_2), NAME(taps_5_2), NAME(taps_7_2), NAME(taps_9_2)},
    {NAME(taps_1_4), NAME(taps_3_4), NAME(taps_5_4), NULL, NULL},
#else
    {NAME(taps_1_2), NAME(taps_3_2), NAME(taps_5_2), NULL, NULL},
#endif
};

/* Maps at once for `left` of them and a kernel of 2 * half + 1 taps. */
static inline long NAME(maps_at_once)(long left, long half) {
  if (left >= 4 && half < 3 && ROOMY) return 4;
  return left >= 2 && (half < 3 || ROOMY) ? 2 : 1;
}

static int NAME(weight_gradient)(const REAL *x, const REAL *grad, REAL *dw, const Geometry *g, int threads) {
  LAYOUT of = NAME(layout)(g);
  long columns = odd((g->out[2] - 1) * g->stride[2] + (g->kernel[2] - 1) * g->dilation[2] + 1);
  long reach = (g->kernel[1] - 1) * g->dilation[1] + 1, band = g->out[1], failed = 0;
  long row_bytes = (g->kernel[0] * of.blocks * columns * g->stride[1] + of.maps * g->out[2]) * LANES * sizeof(REAL);
  while (band > 1 && band * row_bytes > CACHE) band = (band + 1) / 2;
  long bands = round_up(g->out[1], band) / band, rows = (band - 1) * g->stride[1] + reach;
  long frame_size = rows * columns * LANES, plane = g->kernel[0] * frame_size;
  long grad_plane = band * g->out[2] * LANES, size = of.taps * of.blocks * of.maps * LANES;
  long chunks = round_up(TASKS, of.units) / of.units;  /* never by the number of threads, so the bits are the same */
  if (chunks > g->images) chunks = g->images > 0 ? g->images : 1;
  REAL *partial = space(of.units * chunks * size * sizeof(REAL));
  if (!partial) return -1;
  memset(partial, 0, of.units * chunks * size * sizeof(REAL));
#pragma omp parallel num_threads(threads)
  {
    REAL *buffer = space(of.blocks * plane * sizeof(REAL)), *spread = space(of.maps * grad_plane * sizeof(REAL));
    if (!buffer || !spread) {
#pragma omp atomic write
      failed = 1;
    }
#pragma omp for schedule(dynamic)
    for (long task = 0; task < of.units * chunks; task++) {
      if (!buffer || !spread) continue;
      long unit = task / chunks, chunk = task % chunks;
      REAL *own = partial + task * size;
      for (long image = chunk * g->images / chunks; image < (chunk + 1) * g->images / chunks; image++)
        for (long frame = 0; frame < g->out[0]; frame++)
          for (long b = 0; b < bands; b++) {
            long top = b * band, bottom = top + band < g->out[1] ? top + band : g->out[1];
            long first = frame * g->stride[0] - g->pad[0], begin, end;
            inside(first, g->dilation[0], g->kernel[0], g->in[0], &begin, &end);
            Steps s = {bottom - top, g->out[2], g->stride[1] * columns * LANES, g->stride[2] * LANES,
                       g->dilation[2] * LANES, g->out[2] * LANES, grad_plane, of.blocks * of.maps * LANES};
            for (long t = begin; t < end; t++)
              NAME(fill)(x, buffer + t * frame_size, g, &of, unit, image, first + t * g->dilation[0],
                         top * g->stride[1] - g->pad[1], (bottom - top - 1) * g->stride[1] + reach, columns, plane);
            NAME(spread)(grad, spread, g, &of, unit, image, frame, top, bottom - top, 0, g->out[2], grad_plane);
            for (long t = begin; t < end; t++)
              for (long v = 0; v < g->kernel[1]; v++)
                for (long u = 0, taps; u < g->kernel[2]; u += 2 * taps + 1) {
                  taps = (g->kernel[2] - u - 1) / 2;
                  if (taps > 4) taps = 4;
                  for (long block = 0; block < of.blocks; block++)
                    for (long map = 0, maps; map < of.maps; map += maps) {
                      maps = NAME(maps_at_once)(of.maps - map, taps);
                      long row = t * g->kernel[1] + v;
                      const REAL *from = buffer + block * plane + t * frame_size +
                                         (v * g->dilation[1] * columns + u * g->dilation[2]) * LANES;
                      REAL *into = own + (((row * g->kernel[2] + u) * of.blocks + block) * of.maps + map) * LANES;
                      NAME(tap_kernels)[maps / 2][taps](from, &s, spread + map * grad_plane, into);
                    }
                }
          }
    }
    free(buffer);
    free(spread);
  }
  for (long unit = 0; unit < of.units && !failed; unit++) {
    REAL *sum = partial + unit * chunks * size, *from = sum;
    for (long chunk = 1; chunk < chunks; chunk++)
      for (long i = 0; i < size; i++) sum[i] += sum[chunk * size + i];
    for (long t = 0; t < g->kernel[0]; t++)
      for (long v = 0; v < g->kernel[1]; v++)
        for (long u = 0; u < g->kernel[2]; u++)
          for (long block = 0; block < of.blocks; block++)
            for (long map = 0; map < of.maps; map++, from += LANES)
              for (long lane = 0; lane < LANES; lane++)
                dw[NAME(tap_at)(g, t, v, u) + NAME(weight_at)(g, &of, unit, block, map, lane)] = from[lane];
  }
  free(partial);
  return failed ? -1 : 0;
}

#undef TAPS
#undef TREE
#undef SUMS
#undef WIDTHS_OF
#undef WIDTH_ONLY
#undef NAMED
#undef PAIR
#undef REPEAT
#undef LANES
#undef VECTOR
#undef LAYOUT
