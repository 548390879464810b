/* Areas of a picture averaged straight from its bytes. Included by variant.h. */
#ifndef SAMPLING_TYPES
#define SAMPLING_TYPES
typedef uint8_t u8x16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint16_t u16x4 __attribute__((vector_size(8), aligned(2), may_alias));
typedef int32_t i32x4 __attribute__((vector_size(16)));
typedef float f32x4 __attribute__((vector_size(16), aligned(4), may_alias));
#endif
#if V > 4 /* gcc 12 converts half a vector at a time */
#define WIDEN(p) (u16x16)_mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(p)))
#define CELL(p) (i32x4)_mm_cvtepu16_epi32(_mm_loadl_epi64((const __m128i *)(p)))
#else
#define WIDEN(p) __builtin_convertvector(*(const u8x16 *)(p), u16x16)
#define CELL(p) __builtin_convertvector(*(const u16x4 *)(p), i32x4)
#endif

/* Sums of n bytes over rows, at most 257. */
IN void NAME(add_rows)(const uint8_t *p, ptrdiff_t stride, int rows, int n, uint16_t *sums)
{
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        const uint8_t *q = p + i;
        u16x16 a = WIDEN(q), b = WIDEN(q + 16);
        for (int r = 1; r < rows; r++) {
            q += stride;
            a += WIDEN(q);
            b += WIDEN(q + 16);
        }
        *(u16x16 *)(sums + i) = a;
        *(u16x16 *)(sums + i + 16) = b;
    }
    for (; i < n; i++) {
        int s = 0;
        for (int r = 0; r < rows; r++) s += p[r * stride + i];
        sums[i] = (uint16_t)s;
    }
}

/* A row of cells, 3 floats each; the float after the last is written too. */
IN void NAME(area_row)(const Area *a, int row, float *dst)
{
    const Picture *p = a->picture;
    int top = first_of(row, a->h, a->rows), tall = past_of(row, a->h, a->rows) - top;
    int inside = a->x >= 0 && a->y >= 0 && a->x + a->w <= p->width && a->y + a->h <= p->height;
    if (!inside || tall > 257 || a->w / a->columns > 30000) {
        any_row(a, row, dst);
        return;
    }
    uint16_t *sums = (uint16_t *)a->sums;
    ptrdiff_t stride = (ptrdiff_t)3 * p->width;
    NAME(add_rows)(p->bytes + (a->y + top) * stride + 3 * (ptrdiff_t)a->x, stride, tall, 3 * a->w, sums);
    memset(sums + 3 * (ptrdiff_t)a->w, 0, 16);
    /* All cells are least wide, or one more: no branch that cannot be foretold. */
    int least = a->w / a->columns + (a->w % a->columns != 0);
    float height = (float)tall;
    for (int i = 0; i < a->columns; i++, dst += 3) {
        int left = a->edges[2 * i], wide = a->edges[2 * i + 1] - left;
        const uint16_t *from = sums + 3 * left;
        i32x4 sum = CELL(from);
        for (int n = least - 1; n > 0; n--) from += 3, sum += CELL(from);
        int more = -(wide > least);
        sum += CELL(from + 3) & (i32x4){more, more, more, more};
        float width = (float)wide;
        /* Divided twice, as torch does it. */
        *(f32x4 *)dst = __builtin_convertvector(sum, f32x4) / height / width;
    }
}

/* A row of a level with its border, 3 * (columns + 2 * border) floats and one more. */
OUT void NAME(level_row)(const Area *a, int row, float *dst)
{
    int width = 3 * (a->columns + 2 * a->border), side = 3 * a->border;
    if (a->picture->floats) {
        memcpy(dst, a->picture->floats + (ptrdiff_t)row * width, sizeof *dst * (size_t)width);
        return;
    }
    int outside = row < a->border || row >= a->border + a->rows;
    if (!outside) NAME(area_row)(a, row - a->border, dst + side);
    for (int i = 0; i < (outside ? width : side); i++) dst[i] = FILL;
    for (int i = width - side; i < width; i++) dst[i] = FILL;
}

/* The index-th crop, side x side x 3. */
OUT const float *NAME(crop)(const Crops *c, ptrdiff_t index, Work *k)
{
    if (!c->windows) return c->picture->floats + index * c->side * c->side * 3;
    const int32_t *w = c->windows + 4 * index;
    Area a = {c->picture, w[0], w[1], w[2] - w[0], w[3] - w[1], c->side, c->side, 0, k->edges, k->sums};
    edges_of(&a);
    for (int y = 0; y < c->side; y++) NAME(area_row)(&a, y, k->crop + 3 * c->side * y);
    return k->crop;
}

#undef WIDEN
#undef CELL
