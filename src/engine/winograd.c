#include "engine/winograd.h"

#include "engine/activation.h"

#include <float.h>
#include <string.h>

enum { LANES = 8, COLUMNS = 16, ROWS = 6, POSITIONS_MAX = 36, SIDE_MAX = 6 };

static int64_t up(int64_t n, int64_t to)
{
    return (n + to - 1) / to;
}

static int side_of(const struct winograd *w)
{
    return w->m + 2;
}

static int positions_of(const struct winograd *w)
{
    return side_of(w) * side_of(w);
}

/* The block keeps V and M of all positions near the second-level cache, and has at least the rows
 * of several panels. Strides get a few lines more than needed: powers of two would put the same
 * tile's positions into the same cache sets. */
void winograd_prepare(struct winograd *w)
{
    enum { NEAR_FLOATS = 256 * 1024, BLOCK_MIN = 4 * ROWS, PAD = 48 };
    w->tiles_high = up(w->out_height, w->m);
    w->tiles_wide = up(w->out_width, w->m);
    w->tiles = w->batch * w->tiles_high * w->tiles_wide;
    int64_t fit = NEAR_FLOATS / (positions_of(w) * (w->channels + w->outputs));
    w->block = fit < BLOCK_MIN ? BLOCK_MIN : fit;
    w->block = up(w->tiles, up(w->tiles, w->block));
    w->v_position = w->block * w->channels + PAD;
    w->m_position = w->block * w->outputs + PAD;
}

size_t winograd_weight_bytes(const struct winograd *w)
{
    return (size_t)(positions_of(w) * w->channels * w->outputs) * sizeof(float);
}

size_t winograd_scratch_bytes(const struct winograd *w)
{
    return (size_t)(positions_of(w) * (w->v_position + w->m_position)) * sizeof(float);
}

/* ---- weights: U = G g G^T, stored [position][outputs / 16][channels][16] ---- */

static void filter_row(int m, float a, float b, float c, float *out)
{
    if (m == 2) {
        out[0] = a;
        out[1] = 0.5f * (a + c + b);
        out[2] = 0.5f * (a + c - b);
        out[3] = c;
        return;
    }
    out[0] = 0.25f * a;
    out[1] = (a + c + b) * (-1.0f / 6);
    out[2] = (a + c - b) * (-1.0f / 6);
    out[3] = (a + 4 * c + 2 * b) * (1.0f / 24);
    out[4] = (a + 4 * c - 2 * b) * (1.0f / 24);
    out[5] = c;
}

static void pack_filter(const struct winograd *w, const float *g, float *out, int64_t stride)
{
    float rows[3][SIDE_MAX], column[SIDE_MAX];
    int side = side_of(w);
    for (int i = 0; i < 3; i++)
        filter_row(w->m, g[3 * i], g[3 * i + 1], g[3 * i + 2], rows[i]);
    for (int j = 0; j < side; j++) {
        filter_row(w->m, rows[0][j], rows[1][j], rows[2][j], column);
        for (int i = 0; i < side; i++)
            out[(i * side + j) * stride] = column[i];
    }
}

void winograd_pack(const struct winograd *w, const float *weights, float *packed)
{
    int64_t position = w->channels * w->outputs;
#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < w->outputs / COLUMNS; block++)
        for (int64_t c = 0; c < w->channels; c++)
            for (int64_t i = 0; i < COLUMNS; i++)
                pack_filter(w, weights + ((block * COLUMNS + i) * w->channels + c) * 9,
                            packed + (block * w->channels + c) * COLUMNS + i, position);
}

#if defined(__x86_64__)
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma")))

typedef __m256 v8;

int winograd_possible(const struct winograd *w)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           w->channels % LANES == 0 && w->outputs % COLUMNS == 0;
}

AVX2_INLINE v8 all(float x)
{
    return _mm256_set1_ps(x);
}

/* ---- input: V = B^T d B ---- */

/* Lines of d at in[0], in[stride], ...; results likewise. */
AVX2_INLINE void input_line(int m, const v8 *in, int in_stride, v8 *out, int out_stride)
{
    v8 d0 = in[0], d1 = in[in_stride], d2 = in[2 * in_stride], d3 = in[3 * in_stride];
    if (m == 2) {
        out[0] = d0 - d2;
        out[out_stride] = d1 + d2;
        out[2 * out_stride] = d2 - d1;
        out[3 * out_stride] = d1 - d3;
        return;
    }
    v8 d4 = in[4 * in_stride], d5 = in[5 * in_stride];
    v8 even = _mm256_fnmadd_ps(all(4), d2, d4), odd = _mm256_fnmadd_ps(all(4), d1, d3);
    v8 even2 = d4 - d2, odd2 = (d3 - d1) + (d3 - d1);
    out[0] = _mm256_fmadd_ps(all(4), d0, _mm256_fnmadd_ps(all(5), d2, d4));
    out[out_stride] = even + odd;
    out[2 * out_stride] = even - odd;
    out[3 * out_stride] = even2 + odd2;
    out[4 * out_stride] = even2 - odd2;
    out[5 * out_stride] = _mm256_fmadd_ps(all(4), d1, _mm256_fnmadd_ps(all(5), d3, d5));
}

struct tile {
    int64_t image, top, left; /* of its output */
};

static struct tile tile_at(const struct winograd *w, int64_t index)
{
    int64_t per_image = w->tiles_high * w->tiles_wide, in_image = index % per_image;
    return (struct tile){index / per_image, in_image / w->tiles_wide * w->m,
                         in_image % w->tiles_wide * w->m};
}

/* Pixels outside of the image are zero. */
AVX2_INLINE void load_tile(const struct winograd *w, int side, const float *x, int64_t top,
                           int64_t left, v8 *d)
{
    int inside = top >= 0 && left >= 0 && top + side <= w->in_height && left + side <= w->in_width;
    for (int i = 0; i < side; i++)
        for (int j = 0; j < side; j++) {
            int64_t row = top + i, column = left + j;
            int there = inside || (row >= 0 && row < w->in_height && column >= 0 &&
                                   column < w->in_width);
            d[i * side + j] =
                there ? _mm256_loadu_ps(x + row * w->in.row + column * w->in.pixel) : all(0);
        }
}

/* One tile, eight channels; v is at the tile's first channel. */
AVX2_INLINE void transform_input(const struct winograd *w, int m, const float *x, struct tile t,
                                 float *v)
{
    v8 d[POSITIONS_MAX], rows[POSITIONS_MAX];
    int side = m + 2;
    load_tile(w, side, x, t.top - w->pad_top, t.left - w->pad_left, d);
    for (int i = 0; i < side; i++)
        input_line(m, d + i * side, 1, rows + i * side, 1);
    for (int j = 0; j < side; j++)
        input_line(m, rows + j, side, d + j, side);
    for (int p = 0; p < side * side; p++)
        _mm256_storeu_ps(v + p * w->v_position, d[p]);
}

AVX2 static void input_phase(const struct winograd *w, const float *x, int64_t first, int64_t index,
                             float *v)
{
    struct tile t = tile_at(w, first + index);
    x += t.image * w->in.image;
    v += index * w->channels;
    for (int64_t c = 0; c < w->channels; c += LANES, x += w->in.channels8, v += LANES) {
        if (w->m == 2)
            transform_input(w, 2, x, t, v);
        else
            transform_input(w, 4, x, t, v);
    }
}

/* ---- products: M[position] = V[position] U[position] ---- */

/* `rows` tiles by 16 outputs, all in registers. */
AVX2_INLINE void panel(int rows, int64_t channels, const float *v, const float *u, float *out,
                       int64_t out_stride)
{
    v8 sum[ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        sum[r][0] = sum[r][1] = all(0);
    for (int64_t c = 0; c < channels; c++) {
        v8 u0 = _mm256_loadu_ps(u + c * COLUMNS), u1 = _mm256_loadu_ps(u + c * COLUMNS + LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            v8 x = _mm256_broadcast_ss(v + r * channels + c);
            sum[r][0] = _mm256_fmadd_ps(x, u0, sum[r][0]);
            sum[r][1] = _mm256_fmadd_ps(x, u1, sum[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        _mm256_storeu_ps(out + r * out_stride, sum[r][0]);
        _mm256_storeu_ps(out + r * out_stride + LANES, sum[r][1]);
    }
}

AVX2 static void any_panel(int64_t rows, int64_t channels, const float *v, const float *u,
                           float *out, int64_t out_stride)
{
    switch (rows) {
    case 1:
        panel(1, channels, v, u, out, out_stride);
        break;
    case 2:
        panel(2, channels, v, u, out, out_stride);
        break;
    case 3:
        panel(3, channels, v, u, out, out_stride);
        break;
    case 4:
        panel(4, channels, v, u, out, out_stride);
        break;
    case 5:
        panel(5, channels, v, u, out, out_stride);
        break;
    default:
        panel(6, channels, v, u, out, out_stride);
    }
}

/* All tiles of the block for one position and 16 outputs, in panels of nearly equal size. */
AVX2 static void product_phase(const struct winograd *w, int64_t tiles, int64_t job, const float *v,
                               const float *packed, float *products)
{
    int64_t blocks = w->outputs / COLUMNS, position = job / blocks, block = job % blocks;
    int64_t panels = up(tiles, ROWS), done = 0;
    const float *u = packed + job * w->channels * COLUMNS;
    v += position * w->v_position;
    products += position * w->m_position + block * COLUMNS;
    for (int64_t p = 0; p < panels; p++) {
        int64_t rows = (tiles - done) / (panels - p);
        any_panel(rows, w->channels, v + done * w->channels, u, products + done * w->outputs,
                  w->outputs);
        done += rows;
    }
}

/* ---- output: Y = A^T M A, bias, residual, activation ---- */

AVX2_INLINE void output_line(int m, const v8 *in, int in_stride, v8 *out, int out_stride)
{
    v8 a = in[0], b = in[in_stride], c = in[2 * in_stride], d = in[3 * in_stride];
    if (m == 2) {
        out[0] = a + b + c;
        out[out_stride] = b - c - d;
        return;
    }
    v8 f = in[4 * in_stride], g = in[5 * in_stride];
    v8 even1 = b + c, odd1 = b - c, even2 = d + f, odd2 = d - f;
    out[0] = a + even1 + even2;
    out[out_stride] = _mm256_fmadd_ps(all(2), odd2, odd1);
    out[2 * out_stride] = _mm256_fmadd_ps(all(4), even2, even1);
    out[3 * out_stride] = _mm256_fmadd_ps(all(8), odd2, odd1) + g;
}

/* The limits of the activation; all that pass are min and max. */
static void limits(const struct winograd *w, float *low, float *high)
{
    *low = w->activation == ACT_RELU ? 0 : w->activation == ACT_CLIP ? w->low : -FLT_MAX;
    *high = w->activation == ACT_CLIP ? w->high : FLT_MAX;
}

/* An activation that is more than min and max goes over the tile in between. */
AVX2_INLINE void store_curved(const struct winograd *w, int m, v8 *y, struct tile t, v8 bias,
                              const float *residual, float *out)
{
    const struct epilogue what = {.activation = w->activation, .low = w->low, .high = w->high};
    int64_t rows = w->out_height - t.top < m ? w->out_height - t.top : m;
    int64_t columns = w->out_width - t.left < m ? w->out_width - t.left : m;
    int64_t at = t.top * w->out.row + t.left * w->out.pixel;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            y[i * m + j] += bias;
            if (residual)
                y[i * m + j] += _mm256_loadu_ps(residual + at + i * w->out.row + j * w->out.pixel);
        }
    activation_row(&what, (const float *)y, (float *)y, (int64_t)m * m * LANES);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            _mm256_storeu_ps(out + at + i * w->out.row + j * w->out.pixel, y[i * m + j]);
}

AVX2_INLINE void store_tile(const struct winograd *w, int m, const v8 *y, struct tile t, v8 bias,
                            const float *residual, float *out)
{
    float low, high;
    limits(w, &low, &high);
    for (int i = 0; i < m && t.top + i < w->out_height; i++)
        for (int j = 0; j < m && t.left + j < w->out_width; j++) {
            int64_t at = (t.top + i) * w->out.row + (t.left + j) * w->out.pixel;
            v8 value = y[i * m + j] + bias;
            if (residual)
                value += _mm256_loadu_ps(residual + at);
            if (w->activation != ACT_NONE)
                value = _mm256_min_ps(_mm256_max_ps(value, all(low)), all(high));
            _mm256_storeu_ps(out + at, value);
        }
}

AVX2_INLINE void transform_output(const struct winograd *w, int m, const float *products,
                                  struct tile t, v8 bias, const float *residual, float *out)
{
    v8 d[POSITIONS_MAX], rows[POSITIONS_MAX], y[16];
    int side = m + 2;
    for (int p = 0; p < side * side; p++)
        d[p] = _mm256_loadu_ps(products + p * w->m_position);
    for (int i = 0; i < side; i++)
        output_line(m, d + i * side, 1, rows + i * m, 1);
    for (int j = 0; j < m; j++)
        output_line(m, rows + j, m, y + j, m);
    if (w->activation > ACT_CLIP)
        store_curved(w, m, y, t, bias, residual, out);
    else
        store_tile(w, m, y, t, bias, residual, out);
}

AVX2 static void output_phase(const struct winograd *w, const float *products, int64_t first,
                              int64_t index, const float *bias, const float *residual, float *y)
{
    struct tile t = tile_at(w, first + index);
    products += index * w->outputs;
    for (int64_t o = 0; o < w->outputs; o += LANES) {
        int64_t at = t.image * w->out.image + o / LANES * w->out.channels8;
        v8 b = bias ? _mm256_loadu_ps(bias + o) : all(0);
        const float *r = residual ? residual + at : NULL;
        if (w->m == 2)
            transform_output(w, 2, products + o, t, b, r, y + at);
        else
            transform_output(w, 4, products + o, t, b, r, y + at);
    }
}

void winograd_run(const struct winograd *w, const float *x, const float *packed, const float *bias,
                  const float *residual, float *y, float *scratch)
{
    float *v = scratch, *products = scratch + positions_of(w) * w->v_position;
    int64_t jobs = positions_of(w) * (w->outputs / COLUMNS);
#pragma omp parallel
    for (int64_t first = 0; first < w->tiles; first += w->block) {
        int64_t tiles = w->tiles - first < w->block ? w->tiles - first : w->block;
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tiles; i++)
            input_phase(w, x, first, i, v);
#pragma omp for schedule(static)
        for (int64_t job = 0; job < jobs; job++)
            product_phase(w, tiles, job, v, packed, products);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < tiles; i++)
            output_phase(w, products, first, i, bias, residual, y);
    }
}

#else

int winograd_possible(const struct winograd *w)
{
    (void)w;
    return 0;
}

void winograd_run(const struct winograd *w, const float *x, const float *packed, const float *bias,
                  const float *residual, float *y, float *scratch)
{
    (void)w, (void)x, (void)packed, (void)bias, (void)residual, (void)y, (void)scratch;
}

#endif
