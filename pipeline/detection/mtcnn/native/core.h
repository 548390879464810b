/* MTCNN's networks, the sampling of what they see, and suppression, in float32.

   Direct and Winograd convolutions, channels last. The functions are compiled once per instruction
   set: variant.h includes their sources with V, the floats of a vector. Nothing here knows Python,
   allocates more than one block per call, or keeps anything between calls. Sums are not contracted
   (-ffp-contract=off): sampling and suppression are equal to numpy's to the bit. */
#ifndef FACESTREAM_CORE_H
#define FACESTREAM_CORE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined __x86_64__ && (defined __GNUC__ || defined __clang__)
#include <immintrin.h>
#define HAS_X86 1
#else
#define HAS_X86 0
#endif

#define PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define UNROLL(n) PRAGMA(unroll)
#else
#define UNROLL(n) PRAGMA(GCC unroll n)
#endif

/* Outputs are padded to a multiple of BLOCK; packing.py packs weights by such blocks. R-Net has 25 tiles
   of 2x2 outputs, O-Net 121. */
enum { BLOCK = 16, WINO_TILES = 25, WINO_CHANNELS = 64 };

/* What lies outside the picture: the networks' zero. */
#define FILL 127.5

/* Weights [out / BLOCK][kh * n][BLOCK], n inputs in a row of the kernel; of a Winograd layer 16 such
   matrices with kh 1. */
typedef struct {
    int kh, n, out;
    const float *w, *bias, *slope;
} Layer;

typedef struct {
    int kh, n, out, wino, slope;
} Shape;

enum { MOST_LAYERS = 6 };
enum { PNET, RNET, ONET, NETWORKS };

static const Shape SHAPES[NETWORKS][MOST_LAYERS] = {
    {{3, 9, 16, 0, 1}, {3, 30, 16, 0, 1}, {1, 16, 32, 1, 1}, {1, 32, 16, 0, 0}},
    {{3, 9, 32, 0, 1}, {1, 28, 48, 1, 1}, {2, 96, 64, 0, 1}, {1, 576, 128, 0, 1}, {1, 128, 16, 0, 0}},
    {{3, 9, 32, 0, 1}, {1, 32, 64, 1, 1}, {1, 64, 64, 1, 1}, {2, 128, 128, 0, 1}, {1, 1152, 256, 0, 1},
     {1, 256, 16, 0, 0}},
};

/* The layers of a network in its packed weights (may be NULL); returns how many floats these are. */
static ptrdiff_t layers_of(int network, const float *weights, Layer *layers)
{
    ptrdiff_t at = 0;
    for (int i = 0; i < MOST_LAYERS && SHAPES[network][i].kh; i++) {
        Shape s = SHAPES[network][i];
        Layer one = {s.kh, s.n, s.out, NULL, NULL, NULL};
        if (weights) one.w = weights + at;
        at += (ptrdiff_t)s.kh * s.n * s.out * (s.wino ? 16 : 1);
        if (weights) one.bias = weights + at;
        at += s.out;
        if (s.slope) {
            if (weights) one.slope = weights + at;
            at += s.out;
        }
        layers[i] = one;
    }
    return at;
}

/* A picture of height x width x 3, in bytes, or in floats that are taken as they are. */
typedef struct {
    const uint8_t *bytes;
    const float *floats;
    int height, width;
} Picture;

/* A window of a picture, which may reach beyond it, brought to rows x columns cells, and border more
   on each side. edges: 2 * columns; sums: 3 * width + SLACK of the picture's width. */
enum { SLACK = 40 };
typedef struct {
    const Picture *picture;
    int x, y, w, h, rows, columns, border;
    int *edges;
    uint32_t *sums;
} Area;

/* Crops are of windows n x 4 (x1, y1, and one past x2, y2) of the picture; without windows the
   picture's floats are the crops. */
typedef struct {
    const Picture *picture;
    const int32_t *windows;
    int side;
} Crops;

/* What one call works on. a, b, c, d: between layers; v, m: Winograd's inputs and products. */
enum { CROPS = 64, RSIDE = 24, OSIDE = 48 };
typedef struct {
    float crop[OSIDE * OSIDE * 3 + 16], ring[3 * 46 * 32];
    float a[24 * 24 * 32 + 64], b[22 * 22 * 64], c[100 * 64], d[64 * 64], e[16 * 64];
    float flat[CROPS * 1152], dense[CROPS * 256];
    float v[16 * WINO_TILES * WINO_CHANNELS + 16], m[16 * WINO_TILES * WINO_CHANNELS + 16];
    int off1[46], tiles2[121], to2[121], tiles3[16], to3[16], off3[9], off4[CROPS], off5[CROPS];
    int edges[2 * OSIDE];
    uint32_t sums[];
} Work;

static void *block_of(size_t bytes)
{
    return aligned_alloc(64, (bytes + 63) / 64 * 64);
}

/* Where a picture's h x w pixels of c floats begin, in rows of in_w pixels; every step-th pixel. */
static void offsets(int h, int w, int in_w, int c, int step, int *off)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) *off++ = step * (y * in_w + x) * c;
}

/* First and one past the last input cell of each output cell: sampling.cell_edges. */
static int first_of(int cell, int size, int cells) { return (int)((int64_t)cell * size / cells); }
static int past_of(int cell, int size, int cells)
{
    return (int)(((int64_t)(cell + 1) * size + cells - 1) / cells);
}

static void edges_of(const Area *a)
{
    for (int i = 0; i < a->columns; i++) {
        a->edges[2 * i] = first_of(i, a->w, a->columns);
        a->edges[2 * i + 1] = past_of(i, a->w, a->columns);
    }
}

static int clamp(int value, int most) { return value < 0 ? 0 : value > most ? most : value; }

/* A row of cells that are tall, wide or partly outside: slowly, in 64 bits. */
static void any_row(const Area *a, int row, float *dst)
{
    const Picture *p = a->picture;
    int top = first_of(row, a->h, a->rows), bottom = past_of(row, a->h, a->rows), tall = bottom - top;
    int left = clamp(a->x, p->width), right = clamp(a->x + a->w, p->width), n = 3 * (right - left);
    top = clamp(a->y + top, p->height), bottom = clamp(a->y + bottom, p->height);
    int beyond = a->x < 0 || a->y < 0 || a->x + a->w > p->width || a->y + a->h > p->height;
    memset(a->sums, 0, sizeof *a->sums * (size_t)n);
    for (int y = top; y < bottom; y++) {
        const uint8_t *from = p->bytes + ((ptrdiff_t)y * p->width + left) * 3;
        for (int i = 0; i < n; i++) a->sums[i] += from[i];
    }
    for (int i = 0; i < a->columns; i++, dst += 3) {
        int wide = a->edges[2 * i + 1] - a->edges[2 * i];
        int from = clamp(a->x + a->edges[2 * i], p->width);
        int to = clamp(a->x + a->edges[2 * i + 1], p->width);
        double inside = (double)(bottom - top) * (to - from);
        for (int k = 0; k < 3; k++) {
            uint64_t sum = 0;
            for (int x = from; x < to; x++) sum += a->sums[3 * (x - left) + k];
            dst[k] = (float)sum / (float)tall / (float)wide;
            if (beyond) dst[k] = (float)(dst[k] + FILL * (1 - inside / ((double)tall * wide)));
        }
    }
}

#define V 4
#define NAME(x) x##_plain
#define TARGET
#include "variant.h"

#if HAS_X86
#define V 8
#define NAME(x) x##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "variant.h"

/* With WIDE_ON_AVX2 this code is tested on a CPU without AVX-512. */
#define V 16
#define NAME(x) x##_avx512
#ifdef WIDE_ON_AVX2
#define TARGET __attribute__((target("avx2,fma")))
#else
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#endif
#include "variant.h"
#endif

#endif
