#include "engine/recurrent.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("fp-contract=fast") /* fused multiply-adds */
#endif

#include "engine/exp.h"
#include "engine/simd.h"

#include <omp.h>
#include <string.h>

enum { LANES = 8, COLUMNS = 2 * LANES, ROWS = 6, PARTS = 4, GATES = 4 };
enum { GATE_SUMS = ROWS * COLUMNS };
enum { PARALLEL_MIN = 128 * 1024 }; /* multiply-adds of a step: with 64 k two threads lose (SPEED.md) */

typedef float v8 __attribute__((vector_size(LANES * sizeof(float))));
typedef float v8_in_memory
    __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
#define ALWAYS_INLINE static inline __attribute__((always_inline))

static int64_t up(int64_t n, int64_t to)
{
    return (n + to - 1) / to;
}

/* ---- the state by the weights ---- */

ALWAYS_INLINE void add_products(int rows, int part, const float *h, int64_t depth, const float *w,
                                v8 (*sum)[PARTS][2])
{
    v8 low = *(const v8_in_memory *)w, high = *(const v8_in_memory *)(w + LANES);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        sum[r][part][0] += h[r * depth] * low;
        sum[r][part][1] += h[r * depth] * high;
    }
}

/* `rows` states by 16 units of one gate, all in registers. Where rows alone are too few to hide how
 * long an addition takes, there are several sums of each. */
ALWAYS_INLINE void panel(int rows, int parts, int64_t depth, const float *h, const float *w,
                         float *out)
{
    v8 sum[ROWS][PARTS][2];
    int64_t k = 0;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int p = 0; p < parts; p++)
            sum[r][p][0] = sum[r][p][1] = (v8){0};
    for (; k + parts <= depth; k += parts)
#pragma GCC unroll 4
        for (int p = 0; p < parts; p++)
            add_products(rows, p, h + k + p, depth, w + (k + p) * COLUMNS, sum);
    for (; k < depth; k++)
        add_products(rows, 0, h + k, depth, w + k * COLUMNS, sum);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
#pragma GCC unroll 4
        for (int p = 1; p < parts; p++) {
            sum[r][0][0] += sum[r][p][0];
            sum[r][0][1] += sum[r][p][1];
        }
        *(v8_in_memory *)(out + r * COLUMNS) = sum[r][0][0];
        *(v8_in_memory *)(out + r * COLUMNS + LANES) = sum[r][0][1];
    }
}

SIMD_CLONES_FMA
static void multiply(int64_t rows, int gates, int64_t depth, const float *h, const float *w,
                     float *sums)
{
    for (int g = 0; g < gates; g++, w += depth * COLUMNS, sums += GATE_SUMS)
        switch (rows) {
        case 1: panel(1, 4, depth, h, w, sums); break;
        case 2: panel(2, 2, depth, h, w, sums); break;
        case 3: panel(3, 2, depth, h, w, sums); break;
        case 4: panel(4, 1, depth, h, w, sums); break;
        case 5: panel(5, 1, depth, h, w, sums); break;
        default: panel(6, 1, depth, h, w, sums); break;
        }
}

/* ---- gates ---- */

/* One row's units of one block. */
struct units {
    int64_t width, hidden;
    const float *x;    /* the inputs' share of the first gate, the next gate `hidden` further */
    const float *sums; /* the state's share, the next gate GATE_SUMS further */
    const float *bias;
    const float *h;
    float *next, *c, *reset; /* c: LSTM's other state, GRU's update gate between its two products */
};

SIMD_CLONES
static void run_tanh(const struct units *u)
{
    const float *x = u->x, *s = u->sums;
    float *next = u->next;
#pragma omp simd
    for (int64_t i = 0; i < u->width; i++)
        next[i] = exp_tanh(x[i] + s[i]);
}

SIMD_CLONES
static void run_relu(const struct units *u)
{
    const float *x = u->x, *s = u->sums;
    float *next = u->next;
#pragma omp simd
    for (int64_t i = 0; i < u->width; i++) {
        float sum = x[i] + s[i];
        next[i] = sum < 0 ? 0 : sum;
    }
}

/* Gates in the order update, reset, new. */
SIMD_CLONES
static void run_gru(const struct units *u)
{
    const float *x = u->x, *s = u->sums, *bias = u->bias, *h = u->h;
    float *next = u->next;
    int64_t n = u->hidden;
#pragma omp simd
    for (int64_t i = 0; i < u->width; i++) {
        float update = exp_sigmoid(x[i] + s[i]);
        float reset = exp_sigmoid(x[n + i] + s[GATE_SUMS + i]);
        float fresh = exp_tanh(x[2 * n + i] + reset * (s[2 * GATE_SUMS + i] + bias[i]));
        next[i] = (1.0f - update) * fresh + update * h[i];
    }
}

SIMD_CLONES
static void run_gru_reset(const struct units *u)
{
    const float *x = u->x, *s = u->sums, *h = u->h;
    float *update = u->c, *reset = u->reset;
    int64_t n = u->hidden;
#pragma omp simd
    for (int64_t i = 0; i < u->width; i++) {
        update[i] = exp_sigmoid(x[i] + s[i]);
        reset[i] = exp_sigmoid(x[n + i] + s[GATE_SUMS + i]) * h[i];
    }
}

SIMD_CLONES
static void run_gru_new(const struct units *u)
{
    const float *x = u->x, *s = u->sums, *update = u->c, *h = u->h;
    float *next = u->next;
#pragma omp simd
    for (int64_t i = 0; i < u->width; i++)
        next[i] = (1.0f - update[i]) * exp_tanh(x[i] + s[i]) + update[i] * h[i];
}

/* Gates in the order input, output, forget, cell. */
SIMD_CLONES
static void run_lstm(const struct units *u)
{
    const float *x = u->x, *s = u->sums;
    float *next = u->next, *c = u->c;
    int64_t n = u->hidden;
#pragma omp simd
    for (int64_t i = 0; i < u->width; i++) {
        float input = exp_sigmoid(x[i] + s[i]);
        float output = exp_sigmoid(x[n + i] + s[GATE_SUMS + i]);
        float forget = exp_sigmoid(x[2 * n + i] + s[2 * GATE_SUMS + i]);
        c[i] = forget * c[i] + input * exp_tanh(x[3 * n + i] + s[3 * GATE_SUMS + i]);
        next[i] = output * exp_tanh(c[i]);
    }
}

/* What a step does, waiting for all threads behind each phase. */
struct phase {
    int gate, gates; /* the first, and how many */
    void (*run)(const struct units *u);
};

static const struct cell {
    int gates, phases;
    struct phase phase[2]; /* the second multiplies what the first left in units.reset */
} cells[] = {
    [RECURRENT_TANH] = {1, 1, {{0, 1, run_tanh}}},
    [RECURRENT_RELU] = {1, 1, {{0, 1, run_relu}}},
    [RECURRENT_GRU_RESET_FIRST] = {3, 2, {{0, 2, run_gru_reset}, {2, 1, run_gru_new}}},
    [RECURRENT_GRU] = {3, 1, {{0, 3, run_gru}}},
    [RECURRENT_LSTM] = {4, 1, {{0, 4, run_lstm}}},
};

/* ---- packing: direction, block, gate, row of the state, 16 units ---- */

int recurrent_gates(enum recurrent_cell cell)
{
    return cells[cell].gates;
}

static size_t packed_floats(const struct recurrent *r)
{
    return (size_t)(r->directions * up(r->hidden, COLUMNS) * cells[r->cell].gates * r->hidden) *
           COLUMNS;
}

size_t recurrent_weight_bytes(const struct recurrent *r)
{
    return packed_floats(r) * sizeof(float);
}

size_t recurrent_scratch_bytes(const struct recurrent *r)
{
    return (size_t)(4 * r->directions * r->batch * r->hidden) * sizeof(float);
}

void recurrent_pack(const struct recurrent *r, const float *weights, float *packed)
{
    int64_t n = r->hidden, gates = r->directions * cells[r->cell].gates, blocks = up(n, COLUMNS);
    int64_t each = cells[r->cell].gates;
#pragma omp parallel for schedule(static)
    for (int64_t gate = 0; gate < gates; gate++)
        for (int64_t unit = 0; unit < n; unit++) {
            const float *from = weights + (gate * n + unit) * n;
            int64_t block = gate / each * blocks + unit / COLUMNS;
            float *to = packed + (block * each + gate % each) * n * COLUMNS + unit % COLUMNS;
            for (int64_t k = 0; k < n; k++)
                to[k * COLUMNS] = from[k];
        }
}

/* ---- running ---- */

struct run {
    const struct recurrent *r;
    const struct recurrent_data *d;
    const struct cell *cell;
    float *h[2], *c, *reset; /* a row for each direction and sequence; h: before and after a step */
    int64_t groups, blocks, jobs;
};

/* The rows of one group and the units of one block. */
struct job {
    int64_t direction, block, unit, width, row, rows;
};

static struct job job_at(const struct run *run, int64_t index)
{
    const struct recurrent *r = run->r;
    int64_t group = index % run->groups, block = index / run->groups, per_direction = run->blocks;
    struct job j = {.direction = block >= per_direction, .block = block,
                    .row = group * r->batch / run->groups};
    j.unit = (block - j.direction * per_direction) * COLUMNS;
    j.width = r->hidden - j.unit < COLUMNS ? r->hidden - j.unit : COLUMNS;
    j.rows = (group + 1) * r->batch / run->groups - j.row;
    return j;
}

/* How many steps a sequence has. */
static int64_t length_of(const struct run *run, int64_t row)
{
    int64_t length = run->d->lengths ? run->d->lengths[row] : run->r->steps;
    return length < 0 ? 0 : length > run->r->steps ? run->r->steps : length;
}

/* Where input (before hidden or gates) and output of a row at a time are, in rows. */
static int64_t input_at(const struct recurrent *r, int64_t t, int64_t row)
{
    return r->batch_first ? row * r->steps + t : t * r->batch + row;
}

static int64_t output_at(const struct recurrent *r, int64_t t, int64_t d, int64_t row)
{
    return r->batch_first ? input_at(r, t, row) * r->directions + d
                          : (t * r->directions + d) * r->batch + row;
}

/* One row of a job. Behind a sequence's end its state stays and its outputs are zeros. */
static void run_row(const struct run *run, int64_t step, const struct phase *phase,
                    const struct job *j, int64_t row, const float *sums)
{
    const struct recurrent *r = run->r;
    int64_t n = r->hidden, d = j->direction, length = length_of(run, row), t = step;
    int64_t state = (d * r->batch + row) * n + j->unit;
    int last = phase->gate + phase->gates == run->cell->gates;
    size_t bytes = (size_t)j->width * sizeof(float);
    if (step < length && (r->reverse || d))
        t = length - 1 - step;
    int64_t gate = (input_at(r, t, row) * r->directions + d) * run->cell->gates + phase->gate;
    struct units u = {.width = j->width, .hidden = n, .x = run->d->projected + gate * n + j->unit,
                      .sums = sums, .bias = run->d->bias ? run->d->bias + d * n + j->unit : NULL,
                      .h = run->h[step % 2] + state, .next = run->h[1 - step % 2] + state,
                      .c = run->c + state, .reset = run->reset + state};
    float *y = run->d->y && last ? run->d->y + output_at(r, t, d, row) * n + j->unit : NULL;
    if (step < length)
        phase->run(&u);
    else if (last)
        memcpy(u.next, u.h, bytes);
    if (y && step < length)
        memcpy(y, u.next, bytes);
    else if (y)
        memset(y, 0, bytes);
}

static void run_job(const struct run *run, int64_t step, int number, int64_t index)
{
    float sums[GATES * GATE_SUMS];
    const struct phase *phase = &run->cell->phase[number];
    struct job j = job_at(run, index);
    int64_t n = run->r->hidden;
    const float *state = number ? run->reset : run->h[step % 2];
    const float *weights =
        run->d->weights + (j.block * run->cell->gates + phase->gate) * n * COLUMNS;
    multiply(j.rows, phase->gates, n, state + (j.direction * run->r->batch + j.row) * n, weights,
             sums);
    for (int64_t row = 0; row < j.rows; row++)
        run_row(run, step, phase, &j, j.row + row, sums + row * COLUMNS);
}

/* A thread's share of all steps. */
static void run_share(const struct run *run)
{
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t first = run->jobs * thread / threads, end = run->jobs * (thread + 1) / threads;
    for (int64_t step = 0; step < run->r->steps; step++)
        for (int number = 0; number < run->cell->phases; number++) {
            for (int64_t i = first; i < end; i++)
                run_job(run, step, number, step % 2 ? first + end - 1 - i : i);
            if (threads > 1) {
#pragma omp barrier
            }
        }
}

/* Where in the file's layout the state of a sequence lies. */
static int64_t state_at(const struct recurrent *r, int64_t direction, int64_t row)
{
    return (r->batch_first ? row * r->directions + direction : direction * r->batch + row) *
           r->hidden;
}

static void load_state(const struct recurrent *r, const float *from, float *to)
{
    size_t bytes = (size_t)r->hidden * sizeof *to;
    for (int64_t d = 0; d < r->directions; d++)
        for (int64_t b = 0; b < r->batch; b++, to += r->hidden) {
            if (from)
                memcpy(to, from + state_at(r, d, b), bytes);
            else
                memset(to, 0, bytes);
        }
}

static void store_state(const struct recurrent *r, const float *from, float *to)
{
    for (int64_t d = 0; d < r->directions; d++)
        for (int64_t b = 0; b < r->batch; b++, from += r->hidden)
            memcpy(to + state_at(r, d, b), from, (size_t)r->hidden * sizeof *to);
}

void recurrent_run(const struct recurrent *r, const struct recurrent_data *d)
{
    int64_t size = r->directions * r->batch * r->hidden;
    struct run run = {.r = r, .d = d, .cell = &cells[r->cell], .h = {d->scratch, d->scratch + size},
                      .c = d->scratch + 2 * size, .reset = d->scratch + 3 * size,
                      .groups = up(r->batch, ROWS), .blocks = up(r->hidden, COLUMNS)};
    run.jobs = r->directions * run.blocks * run.groups;
    load_state(r, d->h, run.h[0]);
    load_state(r, d->c, run.c);
#pragma omp parallel if (size * r->hidden * run.cell->gates >= PARALLEL_MIN)
    run_share(&run);
    if (d->last_h)
        store_state(r, run.h[r->steps % 2], d->last_h);
    if (d->last_c)
        store_state(r, run.c, d->last_c);
}
