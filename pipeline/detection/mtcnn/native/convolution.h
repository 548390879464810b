/* Convolutions with bias and PReLU, and pooling. Included by variant.h. */

/* count pixels x BLOCK outputs. Pixel p's inputs start at rows[y] + off[p], n in a row. */
IN void NAME(tile)(const int count, const float *const *rows, const int *off, int kh, int n, const float *w,
                   const float *bias, const float *slope, float *dst, ptrdiff_t step)
{
    vf sum[PIXELS][LANES];
    UNROLL(16)
    for (int p = 0; p < count; p++)
        UNROLL(4)
        for (int v = 0; v < LANES; v++) sum[p][v] = *(const vf *)(bias + v * V);
    for (int y = 0; y < kh; y++) {
        const float *at[PIXELS];
        UNROLL(16)
        for (int p = 0; p < count; p++) at[p] = rows[y] + off[p];
        for (ptrdiff_t j = 0; j < n; j++, w += BLOCK) {
            vf k[LANES];
            UNROLL(4)
            for (int v = 0; v < LANES; v++) k[v] = *(const vf *)(w + v * V);
            UNROLL(16)
            for (int p = 0; p < count; p++) {
                vf x;
                SPREAD(x, at[p][j]);
                UNROLL(4)
                for (int v = 0; v < LANES; v++) ADD(sum[p][v], x, k[v]);
            }
        }
    }
    vf zero = {0};
    UNROLL(4)
    for (int v = 0; v < LANES; v++) {
        vf s = zero;
        if (slope) s = *(const vf *)(slope + v * V);
        UNROLL(16)
        for (int p = 0; p < count; p++) {
            vf x = sum[p][v];
            if (slope) x = MAX(x, zero) + MIN(x, zero) * s;
            *(vf *)(dst + p * step + v * V) = x;
        }
    }
}

/* Outputs of count pixels, at dst + pixel * step. */
OUT void NAME(conv)(const Layer *l, const float *const *rows, const int *off, int count, float *dst, ptrdiff_t step)
{
    for (int b = 0; b < l->out; b += BLOCK) {
        const float *w = l->w + (ptrdiff_t)b * l->kh * l->n, *bias = l->bias + b;
        const float *slope = l->slope ? l->slope + b : NULL;
        for (int i = 0, p; i < count; i += p) {
            int left = count - i;
            p = left <= PIXELS ? left : left < 2 * PIXELS ? (left + 1) / 2 : PIXELS;
            float *to = dst + i * step + b;
#define CASE(P) \
    case P: NAME(tile)(P, rows, off + i, l->kh, l->n, w, bias, slope, to, step); break;
            switch (p) {
                CASE(1)
                CASE(2)
#if PIXELS > 2
                CASE(3)
                CASE(4)
                CASE(5)
#endif
#if PIXELS > 5
                CASE(6)
#endif
#if PIXELS > 6
                CASE(7)
                CASE(8)
                CASE(9)
                CASE(10)
                CASE(11)
                CASE(12)
#endif
            }
#undef CASE
        }
    }
}

/* The same where the rows of the input lie one after the other, w pixels of c floats. */
IN void NAME(conv_all)(const Layer *l, const float *src, int w, int c, const int *off, int count, float *dst)
{
    const float *rows[3];
    for (int i = 0; i < l->kh; i++) rows[i] = src + (ptrdiff_t)i * w * c;
    NAME(conv)(l, rows, off, count, dst, l->out);
}

/* 3x3 convolution by Winograd's F(2x2, 3x3) for count tiles of 2x2 outputs. Tile t's 4x4 inputs of c
   floats start at rows[0..3] + off[t], its outputs at dst[0..1] + to[t]. v, m: see Work. */
OUT void NAME(wino)(const Layer *l, const float *const *rows, const int *off, const int *to, int count, int c,
                    float *const *dst, float *v, float *m)
{
    static const float zeros[WINO_CHANNELS];
    int cp = (c + V - 1) / V * V, at[WINO_TILES];
    for (int t = 0; t < WINO_TILES; t++) at[t] = t * cp;
    for (int s = 0; s < count; s += WINO_TILES) {
        int n = count - s < WINO_TILES ? count - s : WINO_TILES;
        for (int t = 0; t < n; t++)
            for (int i = 0; i < cp; i += V) {
                vf a[4][4];
                UNROLL(4)
                for (int x = 0; x < 4; x++) {
                    ptrdiff_t p = (ptrdiff_t)off[s + t] + x * c + i;
                    vf d0 = *(const vf *)(rows[0] + p), d1 = *(const vf *)(rows[1] + p);
                    vf d2 = *(const vf *)(rows[2] + p), d3 = *(const vf *)(rows[3] + p);
                    a[0][x] = d0 - d2, a[1][x] = d1 + d2, a[2][x] = d2 - d1, a[3][x] = d1 - d3;
                }
                float *o = v + t * cp + i;
                UNROLL(4)
                for (int y = 0; y < 4; y++, o += 4 * n * cp) {
                    *(vf *)(o) = a[y][0] - a[y][2];
                    *(vf *)(o + n * cp) = a[y][1] + a[y][2];
                    *(vf *)(o + 2 * n * cp) = a[y][2] - a[y][1];
                    *(vf *)(o + 3 * n * cp) = a[y][1] - a[y][3];
                }
            }
        for (int k = 0; k < 16; k++) {
            Layer one = {1, l->n, l->out, l->w + (ptrdiff_t)k * l->n * l->out, zeros, NULL};
            const float *row = v + k * n * cp;
            NAME(conv)(&one, &row, at, n, m + k * n * l->out, l->out);
        }
        ptrdiff_t q = (ptrdiff_t)n * l->out;
        for (int t = 0; t < n; t++)
            for (int i = 0; i < l->out; i += V) {
                vf b[2][4], zero = {0}, bias = *(const vf *)(l->bias + i), slope = *(const vf *)(l->slope + i);
                const float *p = m + t * l->out + i;
                UNROLL(4)
                for (int x = 0; x < 4; x++, p += q) {
                    vf m0 = *(const vf *)p, m1 = *(const vf *)(p + 4 * q);
                    vf m2 = *(const vf *)(p + 8 * q), m3 = *(const vf *)(p + 12 * q);
                    b[0][x] = m0 + m1 + m2, b[1][x] = m1 - m2 - m3;
                }
                UNROLL(2)
                for (int y = 0; y < 2; y++) {
                    vf first = b[y][0] + b[y][1] + b[y][2] + bias, second = b[y][1] - b[y][2] - b[y][3] + bias;
                    float *o = dst[y] + to[s + t] + i;
                    *(vf *)o = MAX(first, zero) + MIN(first, zero) * slope;
                    *(vf *)(o + l->out) = MAX(second, zero) + MIN(second, zero) * slope;
                }
            }
    }
}

IN void NAME(wino_all)(const Layer *l, const float *src, int w, int c, const int *off, const int *to, int count,
                       int dw, float *dst, Work *k)
{
    const float *rows[4];
    for (int i = 0; i < 4; i++) rows[i] = src + (ptrdiff_t)i * w * c;
    float *out[2] = {dst, dst + (ptrdiff_t)dw * l->out};
    NAME(wino)(l, rows, off, to, count, c, out, k->v, k->m);
}

/* Maxima over k x k, step 2, of rows of width pixels of c floats (padded to cp), to out pixels of c.
   The last window is cut. What is written beyond c is written again by the next pixel, or padding. */
IN void NAME(pool)(const float *const *rows, int nrows, int k, int width, int out, int c, int cp, float *dst)
{
    for (int x = 0; x < out; x++, dst += c) {
        int cols = width - 2 * x < k ? width - 2 * x : k;
        for (int i = 0; i < c; i += V) {
            vf most = *(const vf *)(rows[0] + (ptrdiff_t)2 * x * cp + i);
            for (int y = 0; y < nrows; y++)
                for (int q = 0; q < cols; q++) {
                    vf other = *(const vf *)(rows[y] + (ptrdiff_t)(2 * x + q) * cp + i);
                    most = MAX(most, other);
                }
            *(vf *)(dst + i) = most;
        }
    }
}

/* The same over h rows, which lie stride pixels apart. */
IN void NAME(pool_all)(const float *src, int h, int w, int stride, int k, int c, float *dst)
{
    int ph = (h - k + 1) / 2 + 1, pw = (w - k + 1) / 2 + 1;
    for (int y = 0; y < ph; y++) {
        const float *rows[3];
        int n = h - 2 * y < k ? h - 2 * y : k;
        for (int i = 0; i < n; i++) rows[i] = src + (ptrdiff_t)(2 * y + i) * stride * c;
        NAME(pool)(rows, n, k, w, pw, c, c, dst + (ptrdiff_t)y * pw * c);
    }
}
