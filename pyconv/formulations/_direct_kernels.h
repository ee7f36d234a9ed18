/* The loops of _direct.c for one type of numbers and one instruction set (`_instructions.h`). */

#define PAIR (1 + ROOMY) /* maps at once, at most */

typedef REAL NAME(Vector) __attribute__((vector_size(BYTES), aligned(sizeof(REAL)), may_alias));
typedef LANE_INTEGER NAME(Lanes) __attribute__((vector_size(BYTES)));

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
  NAME(Lanes) kept; /* all ones where negative outputs are kept, zeros where they become 0 */
} NAME(Store);

static NAME(Store) NAME(store)(const LAYOUT *of, long maps, const REAL *bias, int relu) {
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
    to.kept[lane] = relu ? 0 : -1;
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
    found = (VECTOR)((NAME(Lanes))found & (by->kept | ~(found < 0)));
    REAL lane[BYTES / sizeof(REAL)];
    const REAL *from = lane;
    memcpy(lane, &found, sizeof lane);
    long end = positions - first < by->positions ? positions - first : by->positions;
    for (long i = 0; i < end; i++, to += pitch)
      for (long run = 0; run < by->runs; run++, from += by->run) NAME(copy)(to + run * by->step, from, by->run);
  }
}

/* How the outputs are computed: `band` output rows at a time, from `rows` rows of `columns` padded pixels. */
typedef struct {
  LAYOUT of;
  int width; /* which of the kernels' numbers of positions */
  long step, columns, reach, band, bands, frame_size, plane;
  long unit_size; /* of the packed weights */
  long tap_size;  /* offsets of one frame */
  REAL *packed;
  long *offsets;
} NAME(Outputs);

static NAME(Outputs) NAME(plan_outputs)(const Geometry *g) {
  NAME(Outputs) plan = {.of = NAME(layout)(g), .width = best_width(g->out[2], NAME(positions))};
  plan.step = NAME(positions)[plan.width];
  plan.columns = odd((round_up(g->out[2], plan.step) - 1) * g->stride[2] + (g->kernel[2] - 1) * g->dilation[2] + 1);
  plan.reach = (g->kernel[1] - 1) * g->dilation[1] + 1;
  long row_bytes = g->kernel[0] * plan.of.blocks * plan.columns * LANES * sizeof(REAL);
  plan.band = g->out[1];
  while (plan.band > 1 && ((plan.band - 1) * g->stride[1] + plan.reach) * row_bytes > CACHE)
    plan.band = (plan.band + 1) / 2;
  plan.bands = round_up(g->out[1], plan.band) / plan.band;
  plan.frame_size = ((plan.band - 1) * g->stride[1] + plan.reach) * plan.columns * LANES;
  plan.plane = g->kernel[0] * plan.frame_size;
  plan.unit_size = plan.of.taps * plan.of.blocks * plan.of.maps * LANES;
  plan.tap_size = g->kernel[1] * g->kernel[2] * plan.of.blocks;
  plan.packed = space(plan.of.units * plan.unit_size * sizeof(REAL));
  plan.offsets = space(plan.of.taps * plan.of.blocks * sizeof(long));
  long *offset = plan.offsets;
  for (long t = 0; offset && t < g->kernel[0]; t++)
    for (long v = 0; v < g->kernel[1]; v++)
      for (long u = 0; u < g->kernel[2]; u++)
        for (long block = 0; block < plan.of.blocks; block++)
          *offset++ = block * plan.plane + t * plan.frame_size +
                      (v * g->dilation[1] * plan.columns + u * g->dilation[2]) * LANES;
  return plan;
}

static void NAME(pack_outputs)(const REAL *weight, const Geometry *g, const NAME(Outputs) *plan, long unit) {
  REAL *to = plan->packed + unit * plan->unit_size;
  for (long t = 0; t < g->kernel[0]; t++)
    for (long v = 0; v < g->kernel[1]; v++)
      for (long u = 0; u < g->kernel[2]; u++)
        for (long block = 0; block < plan->of.blocks; block++)
          for (long map = 0; map < plan->of.maps; map++, to += LANES)
            NAME(pack)(weight + NAME(tap_at)(g, t, v, u), g, &plan->of, unit, block, map, to);
}

/* The output rows [top, bottom) of a frame, for a unit whose input is in `buffer`; of its taps the frames [begin, end). */
static void NAME(output_rows)(const REAL *buffer, const REAL *bias, int relu, REAL *y, const Geometry *g,
                              const NAME(Outputs) *plan, long unit, long top, long bottom, long begin, long end) {
  const LAYOUT *of = &plan->of;
  VECTOR sums[2 * 16 + 16] __attribute__((aligned(64))) = {{0}}; /* the last vectors of a tree may lie beyond what was summed up: they go nowhere */
  for (long map = 0, maps; map < of->maps; map += maps) {
    maps = of->maps - map < PAIR ? 1 : PAIR;
    long at = unit * of->groups * of->maps + map;
    NAME(Sums) kernel = NAME(kernels)[g->stride[2] - 1][maps - 1][plan->width];
    NAME(Store) by = NAME(store)(of, maps, bias ? bias + at : bias, relu);
    const REAL *w = plan->packed + unit * plan->unit_size + (begin * plan->tap_size * of->maps + map) * LANES;
    for (long column = 0; column < g->out[2]; column += plan->step)
      for (long row = top; row < bottom; row++) {
        const REAL *from =
            buffer + ((row - top) * g->stride[1] * plan->columns + column * g->stride[2]) * LANES;
        long left = g->out[2] - column;
        kernel(from, plan->offsets + begin * plan->tap_size, (end - begin) * plan->tap_size, w, of->maps * LANES, sums);
        NAME(write)(sums, left < plan->step ? left : plan->step, maps, of->lanes, &by,
                    y + (row * g->out[2] + column) * g->pitch + at, g->pitch);
      }
  }
}

static void NAME(output_band)(const REAL *x, const REAL *bias, int relu, REAL *y, const Geometry *g,
                              const NAME(Outputs) *plan, REAL *buffer, long image, long frame, long band) {
  long top = band * plan->band, bottom = top + plan->band < g->out[1] ? top + plan->band : g->out[1];
  long first = frame * g->stride[0] - g->pad[0], begin, end;
  inside(first, g->dilation[0], g->kernel[0], g->in[0], &begin, &end);
  y += (image * g->out[0] + frame) * g->out[1] * g->out[2] * g->pitch;
  for (long unit = 0; unit < plan->of.units; unit++) {
    for (long t = begin; t < end; t++)
      NAME(fill)(x, buffer + t * plan->frame_size, g, &plan->of, unit, image, first + t * g->dilation[0],
                 top * g->stride[1] - g->pad[1], (bottom - top - 1) * g->stride[1] + plan->reach, plan->columns,
                 plan->plane);
    NAME(output_rows)(buffer, bias, relu, y, g, plan, unit, top, bottom, begin, end);
  }
}

static int NAME(forward)(const REAL *x, const REAL *weight, const REAL *bias, int relu, REAL *y, const Geometry *g,
                         int threads) {
  NAME(Outputs) plan = NAME(plan_outputs)(g);
  int failed = !plan.packed || !plan.offsets;
  if (!failed) {
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
      REAL *buffer = space(plan.of.blocks * plan.plane * sizeof(REAL));
      failed |= !buffer;
#pragma omp for schedule(static)
      for (long unit = 0; unit < plan.of.units; unit++) NAME(pack_outputs)(weight, g, &plan, unit);
#pragma omp for collapse(3) schedule(static)
      for (long image = 0; image < g->images; image++)
        for (long frame = 0; frame < g->out[0]; frame++)
          for (long band = 0; band < plan.bands; band++)
            if (buffer) NAME(output_band)(x, bias, relu, y, g, &plan, buffer, image, frame, band);
      free(buffer);
    }
  }
  free(plan.packed);
  free(plan.offsets);
  return failed ? -1 : 0;
}

/* How the input's gradient is computed. Per axis, taps fall into classes by the remainder of the input position that
   they reach: input position r + stride * j gets grad[j + base] through a tap of class r. */
typedef struct {
  LAYOUT of;
  Class *axes[3];
  int width;
  long step, across, columns, reach, band, bands, frame_size, plane;
  long pair; /* vectors of input maps at once */
  long unit_size;
  REAL *packed;
} NAME(Inputs);

static NAME(Inputs) NAME(plan_inputs)(const Geometry *g) {
  NAME(Inputs) plan = {.of = NAME(layout)(g)};
  long down = round_up(g->in[1], g->stride[1]) / g->stride[1];
  plan.across = round_up(g->in[2], g->stride[2]) / g->stride[2];
  plan.width = best_width(plan.across, NAME(positions));
  plan.step = NAME(positions)[plan.width];
  plan.columns = odd(round_up(plan.across, plan.step) + (g->kernel[2] - 1) * g->dilation[2] / g->stride[2] + 1);
  plan.reach = (g->kernel[1] - 1) * g->dilation[1] / g->stride[1] + 1;
  long row_bytes = g->kernel[0] * plan.of.maps * plan.columns * LANES * sizeof(REAL);
  plan.band = down;
  while (plan.band > 1 && (plan.band + plan.reach) * row_bytes > CACHE) plan.band = (plan.band + 1) / 2;
  plan.bands = round_up(down, plan.band) / plan.band;
  plan.frame_size = (plan.band + plan.reach) * plan.columns * LANES;
  plan.plane = g->kernel[0] * plan.frame_size;
  plan.pair = plan.of.blocks % PAIR ? 1 : PAIR;
  plan.unit_size = plan.of.taps * plan.of.maps * plan.of.blocks * LANES;
  plan.packed = space(plan.of.units * plan.unit_size * sizeof(REAL));
  for (int axis = 0; axis < 3; axis++) plan.axes[axis] = classes(g, axis);
  return plan;
}

static void NAME(pack_inputs)(const REAL *weight, const Geometry *g, const NAME(Inputs) *plan, long unit) {
  Class *const *axes = plan->axes;
  REAL *to = plan->packed + unit * plan->unit_size;
  for (long first = 0; first < plan->of.blocks; first += plan->pair)
    EACH_CLASS(t, v, u)
      for (long a = 0; a < t->count; a++)
        for (long b = 0; b < v->count; b++)
          for (long c = 0; c < u->count; c++)
            for (long map = 0; map < plan->of.maps; map++)
              for (long block = first; block < first + plan->pair; block++, to += LANES)
                NAME(pack)(weight + NAME(tap_at)(g, t->tap[a], v->tap[b], u->tap[c]), g, &plan->of, unit, block, map,
                           to);
}

static void NAME(write_inputs)(const VECTOR *sums, long positions, long pair, REAL *to, long step, int accumulate) {
  for (long p = 0; p < positions; p++, to += step)
    for (long m = 0; m < pair; m++) {
      VECTOR *at = (VECTOR *)(to + m * LANES);
      if (accumulate)
        *at += sums[p * pair + m];
      else
        *at = sums[p * pair + m];
    }
}

/* One unit's gradient at the positions of `at`. `dx`: of the frame. */
static void NAME(input_rows)(const REAL *grad, REAL *dx, const Geometry *g, const NAME(Inputs) *plan, REAL *buffer,
                             long *offsets, long image, long frame, long unit, const Reached *at, int accumulate) {
  const Class *t = at->t, *v = at->v, *u = at->u;
  const LAYOUT *of = &plan->of;
  long low_v = v->count ? v->base[v->count - 1] : 0, low_u = u->count ? u->base[u->count - 1] : 0;
  long high_v = v->count ? v->base[0] : 0, taps = v->count * u->count, count = 0;
  VECTOR sums[2 * 16] __attribute__((aligned(64)));
  for (long a = at->begin; a < at->end && taps > 0; a++)
    NAME(spread)(grad, buffer + a * plan->frame_size, g, of, unit, image, frame / g->stride[0] + t->base[a],
                 at->top + low_v, at->bottom - at->top + high_v - low_v, low_u, plan->columns, plan->plane);
  for (long a = at->begin; a < at->end; a++)
    for (long b = 0; b < v->count; b++)
      for (long c = 0; c < u->count; c++)
        for (long map = 0; map < of->maps; map++)
          offsets[count++] = map * plan->plane + a * plan->frame_size +
                             ((v->base[b] - low_v) * plan->columns + u->base[c] - low_u) * LANES;
  for (long first = 0; first < of->blocks; first += plan->pair) {
    const REAL *w = plan->packed + unit * plan->unit_size +
                    (first / plan->pair * of->taps + at->first_weight) * of->maps * plan->pair * LANES;
    for (long column = 0; column < at->right; column += plan->step)
      for (long row = at->top; row < at->bottom; row++) {
        NAME(kernels)[0][plan->pair - 1][plan->width](buffer + ((row - at->top) * plan->columns + column) * LANES,
                                                      offsets, count, w, plan->pair * LANES, sums);
        long left = at->right - column < plan->step ? at->right - column : plan->step;
        long pixel = (at->row + row * g->stride[1]) * g->in[2] + at->column + column * g->stride[2];
        NAME(write_inputs)(sums, left, plan->pair, dx + pixel * g->channels + (unit * of->blocks + first) * LANES,
                           g->stride[2] * g->channels, accumulate);
      }
  }
}

static void NAME(input_band)(const REAL *grad, REAL *dx, const Geometry *g, const NAME(Inputs) *plan, REAL *buffer,
                             long *offsets, long image, long frame, long band, int accumulate) {
  long remainder = frame % g->stride[0], j = frame / g->stride[0];
  Reached at = {.t = &plan->axes[0][remainder], .begin = 0, .end = plan->axes[0][remainder].count};
  while (at.begin < at.end && j + at.t->base[at.begin] >= g->out[0]) at.begin++;
  while (at.end > at.begin && j + at.t->base[at.end - 1] < 0) at.end--;
  dx += (image * g->in[0] + frame) * g->in[1] * g->in[2] * g->channels;
  for (at.row = 0; at.row < g->stride[1]; at.row++)
    for (at.column = 0; at.column < g->stride[2]; at.column++) {
      at.v = &plan->axes[1][at.row];
      at.u = &plan->axes[2][at.column];
      at.top = band * plan->band;
      at.bottom = (g->in[1] - at.row + g->stride[1] - 1) / g->stride[1];
      at.right = (g->in[2] - at.column + g->stride[2] - 1) / g->stride[2];
      if (at.bottom > at.top + plan->band) at.bottom = at.top + plan->band;
      if (at.bottom <= at.top || at.right <= 0) continue;
      at.first_weight =
          taps_before(plan->axes, g, remainder, at.row, at.column) + at.begin * at.v->count * at.u->count;
      for (long unit = 0; unit < plan->of.units; unit++)
        NAME(input_rows)(grad, dx, g, plan, buffer, offsets, image, frame, unit, &at, accumulate);
    }
}

static int NAME(input_gradient)(const REAL *grad, const REAL *weight, REAL *dx, const Geometry *g, int accumulate,
                                int threads) {
  NAME(Inputs) plan = NAME(plan_inputs)(g);
  int failed = !plan.packed || !plan.axes[0] || !plan.axes[1] || !plan.axes[2];
  if (!failed) {
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
      REAL *buffer = space(plan.of.maps * plan.plane * sizeof(REAL));
      long *offsets = space(plan.of.taps * plan.of.maps * sizeof(long));
      failed |= !buffer || !offsets;
#pragma omp for schedule(static)
      for (long unit = 0; unit < plan.of.units; unit++) NAME(pack_inputs)(weight, g, &plan, unit);
#pragma omp for collapse(3) schedule(static)
      for (long image = 0; image < g->images; image++)
        for (long frame = 0; frame < g->in[0]; frame++)
          for (long band = 0; band < plan.bands; band++)
            if (buffer && offsets)
              NAME(input_band)(grad, dx, g, &plan, buffer, offsets, image, frame, band, accumulate);
      free(buffer);
      free(offsets);
    }
  }
  free(plan.packed);
  for (int axis = 0; axis < 3; axis++) free(plan.axes[axis]);
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

/* How the weights' gradient is computed: in tasks of one unit and some images each, whose parts are added in order. */
typedef struct {
  LAYOUT of;
  long columns, reach, band, bands, frame_size, plane, grad_plane;
  long size; /* of a part */
  long chunks;
  REAL *parts;
} NAME(Weights);

static NAME(Weights) NAME(plan_weights)(const Geometry *g) {
  NAME(Weights) plan = {.of = NAME(layout)(g)};
  const LAYOUT *of = &plan.of;
  plan.columns = odd((g->out[2] - 1) * g->stride[2] + (g->kernel[2] - 1) * g->dilation[2] + 1);
  plan.reach = (g->kernel[1] - 1) * g->dilation[1] + 1;
  long row_values = g->kernel[0] * of->blocks * plan.columns * g->stride[1] + of->maps * g->out[2];
  plan.band = g->out[1];
  while (plan.band > 1 && plan.band * row_values * LANES * (long)sizeof(REAL) > CACHE) plan.band = (plan.band + 1) / 2;
  plan.bands = round_up(g->out[1], plan.band) / plan.band;
  plan.frame_size = ((plan.band - 1) * g->stride[1] + plan.reach) * plan.columns * LANES;
  plan.plane = g->kernel[0] * plan.frame_size;
  plan.grad_plane = plan.band * g->out[2] * LANES;
  plan.size = of->taps * of->blocks * of->maps * LANES;
  plan.chunks = round_up(TASKS, of->units) / of->units; /* never by the number of threads: the bits stay the same */
  if (plan.chunks > g->images) plan.chunks = g->images > 0 ? g->images : 1;
  long bytes = of->units * plan.chunks * plan.size * sizeof(REAL);
  plan.parts = space(bytes);
  if (plan.parts) memset(plan.parts, 0, bytes);
  return plan;
}

/* Add what the rows in `buffer` and `spread` give for the kernel's frame `t`. */
static void NAME(add_taps)(const REAL *buffer, const REAL *spread, REAL *part, const Geometry *g,
                           const NAME(Weights) *plan, const Steps *s, long t) {
  const LAYOUT *of = &plan->of;
  for (long v = 0; v < g->kernel[1]; v++)
    for (long u = 0, half; u < g->kernel[2]; u += 2 * half + 1) {
      half = (g->kernel[2] - u - 1) / 2;
      if (half > 4) half = 4;
      for (long block = 0; block < of->blocks; block++)
        for (long map = 0, maps; map < of->maps; map += maps) {
          maps = NAME(maps_at_once)(of->maps - map, half);
          long tap = (t * g->kernel[1] + v) * g->kernel[2] + u;
          const REAL *from = buffer + block * plan->plane + t * plan->frame_size +
                             (v * g->dilation[1] * plan->columns + u * g->dilation[2]) * LANES;
          NAME(tap_kernels)[maps / 2][half](from, s, spread + map * plan->grad_plane,
                                            part + ((tap * of->blocks + block) * of->maps + map) * LANES);
        }
    }
}

static void NAME(weight_band)(const REAL *x, const REAL *grad, REAL *part, const Geometry *g, const NAME(Weights) *plan,
                              REAL *buffer, REAL *spread, long unit, long image, long frame, long band) {
  long top = band * plan->band, bottom = top + plan->band < g->out[1] ? top + plan->band : g->out[1];
  long first = frame * g->stride[0] - g->pad[0], begin, end;
  Steps s = {.rows = bottom - top,
             .columns = g->out[2],
             .x_row = g->stride[1] * plan->columns * LANES,
             .x_column = g->stride[2] * LANES,
             .tap = g->dilation[2] * LANES,
             .grad_row = g->out[2] * LANES,
             .map = plan->grad_plane,
             .into = plan->of.blocks * plan->of.maps * LANES};
  inside(first, g->dilation[0], g->kernel[0], g->in[0], &begin, &end);
  NAME(spread)(grad, spread, g, &plan->of, unit, image, frame, top, bottom - top, 0, g->out[2], plan->grad_plane);
  for (long t = begin; t < end; t++) {
    NAME(fill)(x, buffer + t * plan->frame_size, g, &plan->of, unit, image, first + t * g->dilation[0],
               top * g->stride[1] - g->pad[1], (bottom - top - 1) * g->stride[1] + plan->reach, plan->columns,
               plan->plane);
    NAME(add_taps)(buffer, spread, part, g, plan, &s, t);
  }
}

/* Add up the parts of a unit, and put them where the weights' gradient has them. */
static void NAME(unpack)(const NAME(Weights) *plan, REAL *dw, const Geometry *g, long unit) {
  REAL *sum = plan->parts + unit * plan->chunks * plan->size, *from = sum;
  for (long chunk = 1; chunk < plan->chunks; chunk++)
    for (long i = 0; i < plan->size; i++) sum[i] += sum[chunk * plan->size + i];
  for (long t = 0; t < g->kernel[0]; t++)
    for (long v = 0; v < g->kernel[1]; v++)
      for (long u = 0; u < g->kernel[2]; u++)
        for (long block = 0; block < plan->of.blocks; block++)
          for (long map = 0; map < plan->of.maps; map++, from += LANES)
            for (long lane = 0; lane < LANES; lane++)
              dw[NAME(tap_at)(g, t, v, u) + NAME(weight_at)(g, &plan->of, unit, block, map, lane)] = from[lane];
}

static int NAME(weight_gradient)(const REAL *x, const REAL *grad, REAL *dw, const Geometry *g, int threads) {
  NAME(Weights) plan = NAME(plan_weights)(g);
  int failed = !plan.parts;
  if (!failed) {
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
      REAL *buffer = space(plan.of.blocks * plan.plane * sizeof(REAL));
      REAL *spread = space(plan.of.maps * plan.grad_plane * sizeof(REAL));
      failed |= !buffer || !spread;
#pragma omp for schedule(dynamic)
      for (long task = 0; task < plan.of.units * plan.chunks; task++) {
        long unit = task / plan.chunks, chunk = task % plan.chunks;
        long end = (chunk + 1) * g->images / plan.chunks;
        for (long image = chunk * g->images / plan.chunks; buffer && spread && image < end; image++)
          for (long frame = 0; frame < g->out[0]; frame++)
            for (long band = 0; band < plan.bands; band++)
              NAME(weight_band)(x, grad, plan.parts + task * plan.size, g, &plan, buffer, spread, unit, image, frame,
                                band);
      }
      free(buffer);
      free(spread);
#pragma omp for schedule(static)
      for (long unit = 0; unit < plan.of.units; unit++) NAME(unpack)(&plan, dw, g, unit);
    }
  }
  free(plan.parts);
  return failed ? -1 : 0;
}

#undef TAPS
#undef TREE
#undef SUMS
#undef WIDTHS_OF
#undef WIDTH_ONLY
#undef NAMED
#undef PAIR
#undef LAYOUT
