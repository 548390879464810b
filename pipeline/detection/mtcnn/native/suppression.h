/* Non-maximum suppression. Included by variant.h. */

/* The kept rows of boxes n x 4, best first; of equal scores the earlier wins. smaller: the overlap is
   over the smaller area, not the union. Returns how many are kept, -1 without memory. */
OUT int NAME(nms)(const float *boxes, const float *scores, int n, float threshold, int smaller, int32_t *keep)
{
    if (n < 1) return 0;
    uint64_t *a = block_of(16 * (size_t)n), *b = a + n, *whole = a;
    float *x1 = block_of(24 * (size_t)n), *y1 = x1 + n, *x2 = y1 + n, *y2 = x2 + n, *area = y2 + n;
    if (!a || !x1) {
        free(a), free(x1);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        uint32_t bits;
        float score = scores[i] + 0.0f; /* one zero */
        memcpy(&bits, &score, 4);
        bits = bits >> 31 ? bits : ~bits & 0x7fffffff; /* rises as the score falls */
        a[i] = (uint64_t)bits << 32 | (uint32_t)i;
    }
    for (int shift = 32; shift < 64; shift += 8) {
        int count[257] = {0};
        for (int i = 0; i < n; i++) count[(a[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) count[i + 1] += count[i];
        for (int i = 0; i < n; i++) b[count[a[i] >> shift & 255]++] = a[i];
        uint64_t *other = a;
        a = b, b = other;
    }
    int32_t *dead = (int32_t *)(area + n);
    int kept = 0;
    for (int i = 0; i < n; i++) {
        const float *p = boxes + 4 * (ptrdiff_t)(uint32_t)a[i];
        x1[i] = p[0], y1[i] = p[1], x2[i] = p[2], y2[i] = p[3], dead[i] = 0;
        float w = p[2] - p[0], h = p[3] - p[1];
        area[i] = (w > 0 ? w : 0) * (h > 0 ? h : 0);
    }
    for (int i = 0; i < n; i++) {
        if (dead[i]) continue;
        keep[kept++] = (int32_t)(uint32_t)a[i];
        float left = x1[i], top = y1[i], right = x2[i], bottom = y2[i], mine = area[i];
        for (int j = i + 1; j < n; j++) {
            float w = (x2[j] < right ? x2[j] : right) - (x1[j] > left ? x1[j] : left);
            float h = (y2[j] < bottom ? y2[j] : bottom) - (y1[j] > top ? y1[j] : top);
            w = w > 0 ? w : 0, h = h > 0 ? h : 0;
            float shared = w * h, other = area[j];
            float both = smaller ? (mine < other ? mine : other) : mine + other - shared;
            dead[j] |= (shared / both > threshold) & (both > 0);
        }
    }
    free(whole), free(x1);
    return kept;
}
