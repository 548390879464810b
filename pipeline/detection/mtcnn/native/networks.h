/* The three networks. Included by variant.h. */

/* First convolution and pooling over k x k of a picture side x side x 3. */
IN void NAME(first)(const Layer *l, const float *src, int side, int k, int c, Work *work, float *dst)
{
    int w = side - 2, pw = (w - k + 1) / 2 + 1, done = 0;
    const float *rows[3], *in[3];
    for (int y = 0; y < pw; y++) {
        int last = 2 * y + k < w ? 2 * y + k : w;
        for (; done < last; done++) {
            for (int i = 0; i < 3; i++) in[i] = src + (ptrdiff_t)(done + i) * side * 3;
            NAME(conv)(l, in, work->off1, w, work->ring + (ptrdiff_t)(done % k) * w * l->out, l->out);
        }
        for (int i = 2 * y; i < last; i++) rows[i - 2 * y] = work->ring + (ptrdiff_t)(i % k) * w * l->out;
        NAME(pool)(rows, last - 2 * y, k, w, pw, c, l->out, dst + (ptrdiff_t)y * pw * c);
    }
}

IN void NAME(dense)(const Layer *dense, const Layer *heads, int n, Work *k, float *dst)
{
    NAME(conv_all)(dense, k->flat, 1, dense->n, k->off4, n, k->dense);
    NAME(conv_all)(heads, k->dense, 1, heads->n, k->off5, n, dst);
}

/* Crops of 24 x 24 to heads n x 16, of which 5 are R-Net's. Layers: conv1 conv2 conv3 dense heads. */
OUT void NAME(rnet)(const Layer *l, const Crops *crops, ptrdiff_t n, Work *k, float *heads)
{
    offsets(1, 22, 24, 3, 1, k->off1);
    offsets(5, 5, 11, 28, 2, k->tiles2);
    offsets(5, 5, 10, 48, 2, k->to2);
    offsets(3, 3, 4, 48, 1, k->off3);
    offsets(1, CROPS, 1, 576, 1, k->off4);
    offsets(1, CROPS, 1, 128, 1, k->off5);
    memset(k->a, 0, sizeof k->a); /* Winograd's last tiles look one pixel too far */
    for (ptrdiff_t g = 0; g < n; g += CROPS) {
        int m = n - g < CROPS ? (int)(n - g) : CROPS;
        for (int i = 0; i < m; i++) {
            NAME(first)(&l[0], NAME(crop)(crops, g + i, k), 24, 3, 28, k, k->a);
            NAME(wino_all)(&l[1], k->a, 11, 28, k->tiles2, k->to2, 25, 10, k->b, k);
            NAME(pool_all)(k->b, 9, 9, 10, 3, 48, k->c);
            NAME(conv_all)(&l[2], k->c, 4, 48, k->off3, 9, k->flat + (ptrdiff_t)i * 576);
        }
        NAME(dense)(&l[3], &l[4], m, k, heads + g * 16);
    }
}

/* Crops of 48 x 48 to heads n x 16, of which 15 are O-Net's. Layers: conv1 to conv4, dense, heads. */
OUT void NAME(onet)(const Layer *l, const Crops *crops, ptrdiff_t n, Work *k, float *heads)
{
    offsets(1, 46, 48, 3, 1, k->off1);
    offsets(11, 11, 23, 32, 2, k->tiles2);
    offsets(11, 11, 22, 64, 2, k->to2);
    offsets(4, 4, 10, 64, 2, k->tiles3);
    offsets(4, 4, 8, 64, 2, k->to3);
    offsets(3, 3, 4, 64, 1, k->off3);
    offsets(1, CROPS, 1, 1152, 1, k->off4);
    offsets(1, CROPS, 1, 256, 1, k->off5);
    memset(k->a, 0, sizeof k->a);
    for (ptrdiff_t g = 0; g < n; g += CROPS) {
        int m = n - g < CROPS ? (int)(n - g) : CROPS;
        for (int i = 0; i < m; i++) {
            NAME(first)(&l[0], NAME(crop)(crops, g + i, k), 48, 3, 32, k, k->a);
            NAME(wino_all)(&l[1], k->a, 23, 32, k->tiles2, k->to2, 121, 22, k->b, k);
            NAME(pool_all)(k->b, 21, 21, 22, 3, 64, k->c);
            NAME(wino_all)(&l[2], k->c, 10, 64, k->tiles3, k->to3, 16, 8, k->d, k);
            NAME(pool_all)(k->d, 8, 8, 8, 2, 64, k->e);
            NAME(conv_all)(&l[3], k->e, 4, 64, k->off3, 9, k->flat + (ptrdiff_t)i * 1152);
        }
        NAME(dense)(&l[4], &l[5], m, k, heads + g * 16);
    }
}

/* P-Net on rows first to last - 1 of the cells of a level (first is even, last even or the end). Cells
   that score at least threshold go to places (row * columns + column) and values (5 each: score, offsets).
   Returns how many, -1 without memory. Layers: conv1 conv2 conv3 heads. */
OUT int NAME(pnet)(const Layer *l, Area *level, int first, int last, float threshold, int32_t *places, float *values)
{
    int h = level->rows + 2 * level->border, w = level->columns + 2 * level->border;
    int cw = w - 2, ch = h - 2, pw = (cw + 1) / 2, w2 = pw - 2, w3 = w2 - 2, found = 0;
    /* Rows of whole cache lines. */
    size_t in_row = (3 * (size_t)w + 4 + 15) / 16 * 16, row1 = 16 * (size_t)cw, row2 = (10 * (size_t)pw + 31) / 16 * 16;
    size_t row3 = 16 * ((size_t)w2 + 1), row4 = 32 * ((size_t)w3 + 1), scratch = 16 * WINO_TILES * 32 + 16;
    size_t floats = 4 * in_row + 2 * row1 + 3 * row2 + 4 * row3 + 2 * row4 + 2 * scratch;
    size_t ints = 5 * (size_t)w + 2 * (size_t)level->columns + 3 * (size_t)level->picture->width + SLACK;
    float *in = block_of((floats + ints) * 4);
    if (!in) return -1;
    memset(in, 0, (floats + ints) * 4);
    float *ring1 = in + 4 * in_row, *ring2 = ring1 + 2 * row1, *ring3 = ring2 + 3 * row2;
    float *out = ring3 + 4 * row3, *v = out + 2 * row4, *m = v + scratch;
    int *off1 = (int *)(m + scratch), *off2 = off1 + w, *off3 = off2 + w, *to3 = off3 + w, *next = to3 + w;
    for (int x = 0; x < w; x++) off1[x] = 3 * x, off2[x] = 10 * x, off3[x] = 32 * x, to3[x] = 64 * x;
    level->edges = next, level->sums = (uint32_t *)(next + 2 * (ptrdiff_t)level->columns);
    if (!level->picture->floats) edges_of(level);
    float score[32], five[BLOCK];
    for (int i = 0; i < 32; i++) score[i] = l[3].w[i * BLOCK];

    const float *rows[4];
    int got = 2 * first;
    for (int y = first; y < last + 4; y++) { /* rows of the pooled first convolution */
        int end = 2 * y + 2 < ch ? 2 * y + 2 : ch;
        for (; got < end + 2; got++) NAME(level_row)(level, got, in + (got & 3) * in_row);
        for (int i = 2 * y; i < end; i++) {
            for (int q = 0; q < 3; q++) rows[q] = in + ((i + q) & 3) * in_row;
            NAME(conv)(&l[0], rows, off1, cw, ring1 + (i & 1) * row1, 16);
        }
        rows[0] = ring1, rows[1] = ring1 + row1;
        NAME(pool)(rows, end - 2 * y, 2, cw, pw, 10, 16, ring2 + (size_t)(y % 3) * row2);
        int y2 = y - 2, y3 = y - 5;
        if (y2 < first) continue;
        for (int q = 0; q < 3; q++) rows[q] = ring2 + (size_t)((y2 + q) % 3) * row2;
        NAME(conv)(&l[1], rows, off2, w2, ring3 + (y2 & 3) * row3, 16);
        /* Two rows at a time, and the last alone where their number is odd. */
        if (y == last + 3 && last & 1) y3 = last - 1;
        else if (y3 < first || y3 & 1) continue;
        for (int q = 0; q < 4; q++) rows[q] = ring3 + ((y3 + q) & 3) * row3;
        float *both[2] = {out, out + row4};
        NAME(wino)(&l[2], rows, off3, to3, (w3 + 1) / 2, 16, both, v, m);
        for (int e = 0; e < 2 && y3 + e < last; e++)
            for (int x = 0; x < w3; x++) {
                const float *r = out + e * row4 + (size_t)32 * x;
                vf s = *(const vf *)r * *(const vf *)score;
                UNROLL(8)
                for (int q = V; q < 32; q += V) s += *(const vf *)(r + q) * *(const vf *)(score + q);
                UNROLL(4)
                for (int half = V / 2; half; half /= 2)
                    UNROLL(8)
                    for (int z = 0; z < half; z++) s[z] += s[z + half];
                float odds = s[0] + l[3].bias[0];
                if (!(odds >= threshold)) continue;
                int zero = 0;
                NAME(conv)(&l[3], &r, &zero, 1, five, BLOCK);
                five[0] = odds;
                places[found] = (y3 + e) * w3 + x;
                memcpy(values + 5 * (ptrdiff_t)found++, five, 5 * sizeof *five);
            }
    }
    free(in);
    return found;
}
