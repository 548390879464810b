/* The kernels for Python: arguments are checked here, the work is done without the interpreter's lock.
   Arrays come as contiguous buffers; their sizes must fit, what they hold is up to kernels.py. */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include "core.h"
#if HAS_X86
#include <cpuid.h>
#endif

typedef struct {
    const char *name;
    void (*rnet)(const Layer *, const Crops *, ptrdiff_t, Work *, float *);
    void (*onet)(const Layer *, const Crops *, ptrdiff_t, Work *, float *);
    int (*pnet)(const Layer *, Area *, int, int, float, int32_t *, float *);
    int (*nms)(const float *, const float *, int, float, int, int32_t *);
    void (*level_row)(const Area *, int, float *);
    const float *(*crop)(const Crops *, ptrdiff_t, Work *);
} Variant;

#define VARIANT(x) {#x, rnet_##x, onet_##x, pnet_##x, nms_##x, level_row_##x, crop_##x}
#if HAS_X86
static const Variant VARIANTS[] = {VARIANT(avx512), VARIANT(avx2), VARIANT(plain)};
#else
static const Variant VARIANTS[] = {VARIANT(plain)};
#endif
enum { COUNT = sizeof VARIANTS / sizeof *VARIANTS };

#if HAS_X86
/* Whether the CPU has these bits of leaf 7 and AVX with FMA, and the system keeps these registers.
   __builtin_cpu_supports is not in every compiler's library. */
static int has(unsigned features, unsigned registers)
{
    unsigned a, b, c, d, kept, high;
    const unsigned fma = 1u << 12, xsave = 1u << 27, avx = 1u << 28;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (fma | xsave | avx)) != (fma | xsave | avx)) return 0;
    __asm__("xgetbv" : "=a"(kept), "=d"(high) : "c"(0));
    return (kept & registers) == registers && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & features) == features;
}
#endif

static int runs(const char *name)
{
#if HAS_X86
    const unsigned avx2 = 1u << 5, avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31; /* F, DQ, BW, VL */
    if (!strcmp(name, "avx2")) return has(avx2, 0x6);
#ifdef WIDE_ON_AVX2
    if (!strcmp(name, "avx512")) return has(avx2, 0x6);
#endif
    if (!strcmp(name, "avx512")) return has(avx2 | avx512, 0xe6);
#endif
    return !strcmp(name, "plain");
}

/* Longest side, so that no sum of places overflows. */
enum { LONGEST = 1 << 20 };

static int refuse(const char *what)
{
    PyErr_SetString(PyExc_ValueError, what);
    return 0;
}

static const Variant *variant_of(const char *name)
{
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(VARIANTS[i].name, name) && runs(name)) return &VARIANTS[i];
    refuse("this CPU does not run that variant");
    return NULL;
}

static int picture_fits(const Py_buffer *view, int height, int width, int floats, Picture *picture)
{
    if (height < 1 || width < 1 || height > LONGEST || width > LONGEST)
        return refuse("a side of the picture is out of range");
    if (view->len != (Py_ssize_t)height * width * 3 * (floats ? 4 : 1))
        return refuse("the picture is not height x width x 3");
    *picture = (Picture){floats ? NULL : view->buf, floats ? view->buf : NULL, height, width};
    return 1;
}

static int windows_fit(const Py_buffer *view, Py_ssize_t *count)
{
    const int32_t *w = view->buf;
    if (view->len % 16) return refuse("windows are not n x 4 int32");
    *count = view->len / 16;
    for (Py_ssize_t i = 0; i < *count; i++, w += 4)
        for (int k = 0; k < 2; k++)
            if (w[k] < -LONGEST || w[k + 2] > 2 * LONGEST || w[k] >= w[k + 2])
                return refuse("a window is empty or out of range");
    return 1;
}

static int level_fits(int rows, int columns, int border, int floats, const Picture *p)
{
    if (rows < 1 || columns < 1 || rows > LONGEST || columns > LONGEST || border < 0 || border > 64)
        return refuse("a side of the level is out of range");
    if ((int64_t)(rows + 2 * border) * (columns + 2 * border) > INT32_MAX) return refuse("the level is too large");
    if (floats && (border || rows != p->height || columns != p->width))
        return refuse("a picture of floats is its own level");
    return 1;
}

static Work *work_for(const Picture *picture)
{
    return block_of(sizeof(Work) + (3 * (size_t)picture->width + SLACK) * sizeof(uint32_t));
}

static PyObject *variants(PyObject *self, PyObject *none)
{
    (void)self, (void)none;
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < COUNT; i++) {
        PyObject *name = runs(VARIANTS[i].name) ? PyUnicode_FromString(VARIANTS[i].name) : NULL;
        if (name && PyList_Append(names, name)) Py_CLEAR(names);
        Py_XDECREF(name);
        if (PyErr_Occurred()) Py_CLEAR(names);
    }
    return names;
}

/* heads(variant, network, weights, picture, height, width, windows or None, out): R-Net (1) or O-Net (2). */
static PyObject *heads(PyObject *self, PyObject *args)
{
    const char *name;
    int network, height, width;
    Py_buffer weights, image, windows, out;
    (void)self;
    if (!PyArg_ParseTuple(args, "siy*y*iiz*w*", &name, &network, &weights, &image, &height, &width, &windows, &out))
        return NULL;
    const Variant *variant = variant_of(name);
    int floats = !windows.buf, fits = 0, side = network == RNET ? RSIDE : OSIDE;
    Py_ssize_t count = 0;
    Picture picture;
    Layer layers[MOST_LAYERS];
    Work *work = NULL;
    if (!variant) goto end;
    if (network != RNET && network != ONET) refuse("networks with heads are 1 and 2");
    else if (weights.len != layers_of(network, weights.buf, layers) * 4) refuse("these are not the network's weights");
    else if (floats && (image.len == 0 || image.len % (side * side * 12))) refuse("crops are not n x side x side x 3");
    else if (floats) {
        count = image.len / (side * side * 12);
        picture = (Picture){NULL, image.buf, side, side};
        fits = 1;
    } else
        fits = picture_fits(&image, height, width, 0, &picture) && windows_fit(&windows, &count);
    if (fits && out.len != count * BLOCK * 4) fits = refuse("out is not n x 16 float32");
    if (fits && !(work = work_for(&picture))) PyErr_NoMemory();
    if (work) {
        Crops crops = {&picture, windows.buf, side};
        Py_BEGIN_ALLOW_THREADS
        (network == RNET ? variant->rnet : variant->onet)(layers, &crops, count, work, out.buf);
        Py_END_ALLOW_THREADS
        free(work);
    }
end:
    PyBuffer_Release(&weights), PyBuffer_Release(&image), PyBuffer_Release(&out);
    if (windows.obj) PyBuffer_Release(&windows);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* cells(variant, weights, picture, height, width, floats, rows, columns, border, first, last, threshold, places,
   values) -> how many. */
static PyObject *cells(PyObject *self, PyObject *args)
{
    const char *name;
    int height, width, floats, rows, columns, border, first, last, found = 0;
    float threshold;
    Py_buffer weights, image, places, values;
    (void)self;
    if (!PyArg_ParseTuple(args, "sy*y*iipiiiiifw*w*", &name, &weights, &image, &height, &width, &floats, &rows,
                          &columns, &border, &first, &last, &threshold, &places, &values))
        return NULL;
    const Variant *variant = variant_of(name);
    Picture picture;
    Layer layers[MOST_LAYERS];
    if (variant && picture_fits(&image, height, width, floats, &picture) &&
        level_fits(rows, columns, border, floats, &picture)) {
        int down = (rows + 2 * border - 1) / 2 - 4, across = (columns + 2 * border - 1) / 2 - 4;
        int64_t most = (int64_t)(last - first) * across;
        if (across < 1 || first < 0 || first >= last || last > down || first & 1 || (last & 1 && last != down))
            refuse("the level has no such rows of cells");
        else if (weights.len != layers_of(PNET, weights.buf, layers) * 4) refuse("these are not the network's weights");
        else if (places.len < most * 4 || values.len < most * 20) refuse("places or values are too short");
        else {
            Area level = {&picture, 0, 0, width, height, rows, columns, border, NULL, NULL};
            Py_BEGIN_ALLOW_THREADS
            found = variant->pnet(layers, &level, first, last, threshold, places.buf, values.buf);
            Py_END_ALLOW_THREADS
            if (found < 0) PyErr_NoMemory();
        }
    }
    PyBuffer_Release(&weights), PyBuffer_Release(&image), PyBuffer_Release(&places), PyBuffer_Release(&values);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(found);
}

/* nms(variant, boxes, scores, threshold, over the smaller area, keep) -> how many. */
static PyObject *nms(PyObject *self, PyObject *args)
{
    const char *name;
    int smaller, kept = 0;
    float threshold;
    Py_buffer boxes, scores, keep;
    (void)self;
    if (!PyArg_ParseTuple(args, "sy*y*fpw*", &name, &boxes, &scores, &threshold, &smaller, &keep)) return NULL;
    const Variant *variant = variant_of(name);
    Py_ssize_t n = scores.len / 4;
    if (!variant) n = 0;
    else if (scores.len % 4 || boxes.len != n * 16 || keep.len < n * 4) refuse("boxes, scores and keep are not of one length");
    else if (n > INT32_MAX / 32) refuse("too many boxes");
    else {
        Py_BEGIN_ALLOW_THREADS
        kept = variant->nms(boxes.buf, scores.buf, (int)n, threshold, smaller, keep.buf);
        Py_END_ALLOW_THREADS
        if (kept < 0) PyErr_NoMemory();
    }
    PyBuffer_Release(&boxes), PyBuffer_Release(&scores), PyBuffer_Release(&keep);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(kept);
}

/* crops(variant, picture, height, width, windows, side, out) */
static PyObject *crops(PyObject *self, PyObject *args)
{
    const char *name;
    int height, width, side;
    Py_buffer image, windows, out;
    (void)self;
    if (!PyArg_ParseTuple(args, "sy*iiy*iw*", &name, &image, &height, &width, &windows, &side, &out)) return NULL;
    const Variant *variant = variant_of(name);
    Picture picture;
    Py_ssize_t count;
    if (variant && picture_fits(&image, height, width, 0, &picture) && windows_fit(&windows, &count)) {
        Work *work = NULL;
        if (side != RSIDE && side != OSIDE) refuse("crops are of 24 or 48 pixels");
        else if (out.len != count * side * side * 12) refuse("out is not n x side x side x 3 float32");
        else if (!(work = work_for(&picture))) PyErr_NoMemory();
        else {
            Crops all = {&picture, windows.buf, side};
            size_t each = (size_t)side * side * 12;
            Py_BEGIN_ALLOW_THREADS
            for (Py_ssize_t i = 0; i < count; i++)
                memcpy((char *)out.buf + (size_t)i * each, variant->crop(&all, i, work), each);
            Py_END_ALLOW_THREADS
        }
        free(work);
    }
    PyBuffer_Release(&image), PyBuffer_Release(&windows), PyBuffer_Release(&out);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* level(variant, picture, height, width, rows, columns, border, out) */
static PyObject *level(PyObject *self, PyObject *args)
{
    const char *name;
    int height, width, rows, columns, border;
    Py_buffer image, out;
    (void)self;
    if (!PyArg_ParseTuple(args, "sy*iiiiiw*", &name, &image, &height, &width, &rows, &columns, &border, &out)) return NULL;
    const Variant *variant = variant_of(name);
    Picture picture;
    if (variant && picture_fits(&image, height, width, 0, &picture) && level_fits(rows, columns, border, 0, &picture)) {
        size_t row = 3 * ((size_t)columns + 2 * (size_t)border), all = (size_t)rows + 2 * (size_t)border;
        size_t ints = 2 * (size_t)columns + 3 * (size_t)width + SLACK;
        int *edges = NULL;
        if ((size_t)out.len != row * all * 4) refuse("out is not rows x columns x 3 float32");
        else if (!(edges = block_of((ints + row + 4) * 4))) PyErr_NoMemory();
        else {
            float *line = (float *)(edges + ints);
            Area area = {&picture, 0, 0, width, height, rows, columns, border, edges, (uint32_t *)(edges + 2 * (ptrdiff_t)columns)};
            Py_BEGIN_ALLOW_THREADS
            edges_of(&area);
            for (size_t y = 0; y < all; y++) {
                variant->level_row(&area, (int)y, line);
                memcpy((float *)out.buf + y * row, line, row * 4);
            }
            Py_END_ALLOW_THREADS
        }
        free(edges);
    }
    PyBuffer_Release(&image), PyBuffer_Release(&out);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef METHODS[] = {
    {"variants", variants, METH_NOARGS, "Instruction sets that this CPU runs, the widest first."},
    {"heads", heads, METH_VARARGS, "R-Net or O-Net on windows of a picture."},
    {"cells", cells, METH_VARARGS, "P-Net on rows of cells of a level."},
    {"nms", nms, METH_VARARGS, "Non-maximum suppression."},
    {"crops", crops, METH_VARARGS, "Windows of a picture at one size."},
    {"level", level, METH_VARARGS, "A picture at one size."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot SLOTS[] = {{0, NULL}};
static PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_doc = "MTCNN in C; see kernels.py.", .m_methods = METHODS, .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&MODULE);
}
