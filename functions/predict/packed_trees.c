/* Adds up the trees of an ensemble, row by row and tree by tree, in the order in which the library adds them.

   packed_trees.py lays the trees out, calls this through ctypes, and compares the sums with the library's own, bit for bit. Only
   the two entry points allocate, and nothing but libc is called. Compile with -ffp-contract=off: scikit-learn's wheels do not fuse the
   addition with the multiplication on either processor, so a fused one would give other bits. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    WALKED_BYTES = 4 << 20, /* of a block of rows; a large tree takes its way to the cache once a block */
    WALKED_ROWS = 32768,   /* the most rows of such a block */
    STEPPED = 8,           /* rows that walk down a tree side by side, so that their waits for memory overlap */
    RANKED_ROWS = 512,     /* rows of a block whose ranks stay in the first cache */
    LANES = 32,            /* rows that are tested at once, by one instruction if vectors have 32 bytes */
    MAX_LEAVES = 256,      /* of a ranked tree: a leaf's number is a byte */
};

/* The rows to score, and the sums to add to. Strides are in elements. */
typedef struct {
    const void *x;
    int64_t rows, row_stride, feature_stride;
    void *sums;
    int64_t sums_row_stride, sums_output_stride;
    int64_t is_single; /* the sums: float32, of trees that add one number, or float64 */
} block;

/* What both kinds of trees have. Tree t adds the `width` numbers of the leaf to the outputs from `t % turns` on, times `scale`. */
typedef struct {
    const double *values;
    int64_t trees, width, turns;
    double scale;
} ensemble;

#define INLINE static inline __attribute__((always_inline))

/* Add the numbers of each row's leaf; `width` and `is_single` are constants where this is inlined. */
INLINE void add_numbers(
    const ensemble *of, const block *to, int64_t start, size_t count, const double *values, const uint32_t *leaves, int64_t width,
    int is_single
) {
    const int64_t row_stride = to->sums_row_stride, output_stride = to->sums_output_stride;
    const double scale = of->scale;
    for (size_t row = 0; row < count; row++) {
        for (int64_t output = 0; output < width; output++) {
            const int64_t place = start + (int64_t)row * row_stride + output * output_stride;
            const double added = scale * values[leaves[row] * width + output]; /* scikit-learn's own line; others have 1 as scale */
            if (is_single) {
                ((float *)to->sums)[place] += (float)added; /* a float's value, as XGBoost's are */
            } else {
                ((double *)to->sums)[place] += added;
            }
        }
    }
}

INLINE void add_leaves(
    const ensemble *of, const block *to, int64_t first, size_t count, int64_t tree, const double *values, const uint32_t *leaves
) {
    const int64_t start = first * to->sums_row_stride + tree % of->turns * to->sums_output_stride;
    if (to->is_single) {
        add_numbers(of, to, start, count, values, leaves, 1, 1);
    } else if (of->width == 1) {
        add_numbers(of, to, start, count, values, leaves, 1, 0);
    } else {
        add_numbers(of, to, start, count, values, leaves, of->width, 0);
    }
}

/* --- walked trees: any size -------------------------------------------------------------------------------------------------- */

/* Children lie side by side: a row goes to `child`, or to the right of it. `link` has, from its lowest bit on, the child, one bit
   that sends missing values to the left, and the feature from bit `shift` on. A leaf is its own child; its feature is the one behind
   the last, which is minus infinity in every row; and the bits of its threshold are the number of its values. */
typedef struct {
    float threshold;
    uint32_t link;
} node;

typedef struct {
    ensemble of;
    const node *nodes;
    const int64_t *starts;    /* of each tree's nodes */
    const int32_t *features;  /* that any node tests: columns of x */
    int64_t n_features;
    int64_t shift;
    const double *thresholds;        /* of each feature, ascending, if features are float64: nodes compare how many are less */
    const int64_t *threshold_starts; /* and the end of the last */
    int64_t is_double;               /* the features: float64, or float32 */
} walked;

/* Find each row's leaf; `with_missing` is a constant where this is inlined. */
static inline __attribute__((always_inline)) void walk(
    const node *tree, uint32_t shift, const float *rows, size_t row_size, size_t count, uint32_t *found, int with_missing
) {
    const uint32_t children = (UINT32_C(1) << (shift - 1)) - 1;
    for (size_t first = 0; first < count; first += STEPPED) {
        uint32_t at[STEPPED] = {0}, moved;
        do {
            moved = 0;
            for (size_t step = 0; step < STEPPED; step++) {
                const node here = tree[at[step]];
                const float value = rows[(first + step) * row_size + (here.link >> shift)];
                uint32_t right = !(value <= here.threshold);
                if (with_missing) {
                    right &= ~((value != value) & (here.link >> (shift - 1)));
                }
                const uint32_t next = (here.link & children) + right;
                moved |= next ^ at[step];
                at[step] = next;
            }
        } while (moved);
        memcpy(found + first, at, sizeof at);
    }
}

/* Count the thresholds that are less than a value; one that is missing stays so. */
INLINE float count_below(const double *thresholds, int64_t count, double value) {
    int64_t below = 0;
    for (; count > 1; count -= count / 2) {
        below += (count / 2) & -(int64_t)(thresholds[below + count / 2 - 1] < value); /* a jump would be mispredicted */
    }
    below += thresholds[below] < value;
    return value == value ? (float)below : NAN;
}

/* Copy rows into `to`, one behind the other, each with minus infinity at its end; tell whether a value is missing. */
static int gather(const walked *trees, const block *rows, int64_t first, size_t count, float *to) {
    const size_t row_size = (size_t)trees->n_features + 1;
    int is_missing = 0;
    for (size_t feature = 0; feature < row_size - 1; feature++) {
        const int64_t start = first * rows->row_stride + trees->features[feature] * rows->feature_stride;
        const int64_t known = trees->is_double ? trees->threshold_starts[feature] : 0;
        const int64_t n_known = trees->is_double ? trees->threshold_starts[feature + 1] - known : 0;
        for (size_t row = 0; row < count; row++) {
            const int64_t place = start + (int64_t)row * rows->row_stride;
            const float value = trees->is_double ? count_below(trees->thresholds + known, n_known, ((const double *)rows->x)[place])
                                                 : ((const float *)rows->x)[place];
            to[row * row_size + feature] = value;
            is_missing |= value != value;
        }
    }
    for (size_t row = 0; row < count; row++) {
        to[row * row_size + row_size - 1] = -INFINITY;
    }
    return is_missing;
}

/* Add up trees of any size. Returns 0 if memory is lacking, and 1 otherwise. */
int add_walked(const walked *trees, const block *rows) {
    const size_t row_size = (size_t)trees->n_features + 1;
    int64_t most = (int64_t)(WALKED_BYTES / sizeof(float) / row_size / STEPPED + 1) * STEPPED;
    most = most < WALKED_ROWS ? most : WALKED_ROWS;
    float *gathered = calloc((size_t)most * row_size, sizeof *gathered);
    uint32_t *found = malloc((size_t)most * sizeof *found);
    const int is_room = gathered && found;
    for (int64_t first = 0; is_room && first < rows->rows; first += most) {
        const size_t count = (size_t)(rows->rows - first < most ? rows->rows - first : most);
        const int is_missing = gather(trees, rows, first, count, gathered);
        for (int64_t tree = 0; tree < trees->of.trees; tree++) {
            const node *nodes = trees->nodes + trees->starts[tree];
            if (is_missing) {
                walk(nodes, (uint32_t)trees->shift, gathered, row_size, count, found, 1);
            } else {
                walk(nodes, (uint32_t)trees->shift, gathered, row_size, count, found, 0);
            }
            for (size_t row = 0; row < count; row++) {
                memcpy(found + row, &nodes[found[row]].threshold, sizeof *found);
            }
            add_leaves(&trees->of, rows, first, count, tree, trees->of.values, found);
        }
    }
    free(gathered);
    free(found);
    return is_room;
}

/* --- ranked trees: at most 256 leaves, and at most 255 thresholds a feature ---------------------------------------------------- */

/* A column holds a byte for each row: how many of its feature's thresholds are less than the value, so that a value is at most the
   threshold of number n if its byte is at most n. Missing values have the byte that goes to the side of the column's nodes. In a
   column of categories, the byte of a category says by itself to which side it goes. */
enum { MISSING_RIGHT, MISSING_LEFT, CATEGORIES };

typedef struct {
    int32_t feature, kind;
    int64_t start; /* in the thresholds, or in the categories: 256 bytes, and the byte of any other value */
    int64_t count; /* of the thresholds */
} column;

/* A row goes to `right` if its byte in the column is more than `rank`. What follows is a leaf's number, or MAX_LEAVES and a test's;
   tests stand in front of those that follow them. */
typedef struct {
    uint16_t column, left, right;
    uint16_t rank;
} test;

typedef struct {
    ensemble of;
    const test *tests;
    const int64_t *starts;       /* of each tree's tests, and the end of the last */
    const int64_t *value_starts; /* of each tree's leaves */
    const column *columns;       /* those of one feature side by side, MISSING_RIGHT first */
    int64_t n_columns;
    const double *thresholds;
    const uint8_t *categories;
    int64_t is_double; /* the features: float64, or float32 */
    int64_t is_wide;   /* whether the processor has AVX2 */
} ranked;

typedef int8_t lanes __attribute__((vector_size(LANES)));

INLINE void read_feature(const ranked *trees, const block *rows, int64_t first, size_t count, int32_t feature, double *values) {
    const int64_t start = first * rows->row_stride + feature * rows->feature_stride;
    for (size_t row = 0; row < count; row++) {
        const int64_t place = start + (int64_t)row * rows->row_stride;
        values[row] = trees->is_double ? ((const double *)rows->x)[place] : (double)((const float *)rows->x)[place];
    }
}

/* Count the thresholds, which ascend, that are less than each value; all rows take the same steps of the search, side by side. */
INLINE void rank(const double *thresholds, int64_t count, const double *values, uint8_t *ranks) {
    uint32_t below[RANKED_ROWS] = {0};
    uint32_t left = (uint32_t)count;
    for (; left > 1; left -= left / 2) {
        const double *middle = thresholds + left / 2 - 1;
        for (size_t row = 0; row < RANKED_ROWS; row++) {
            below[row] += (left / 2) & -(uint32_t)(middle[below[row]] < values[row]); /* a jump would be mispredicted every other time */
        }
    }
    for (size_t row = 0; row < RANKED_ROWS; row++) {
        below[row] += thresholds[below[row]] < values[row];
        ranks[row] = (uint8_t)(values[row] == values[row] ? below[row] : UINT8_MAX);
    }
}

/* Bytes are compared with a sign, for which all vector units have an instruction; so they are kept 128 lower. */
INLINE int8_t with_sign(uint8_t byte) { return (int8_t)(byte - 128); }

INLINE void fill_columns(const ranked *trees, const block *rows, int64_t first, size_t count, int8_t *columns) {
    double values[RANKED_ROWS] = {0};
    uint8_t ranks[RANKED_ROWS];
    for (int64_t place = 0; place < trees->n_columns; place++) {
        const column *here = trees->columns + place;
        int8_t *bytes = columns + place * RANKED_ROWS;
        if (place == 0 || here->feature != here[-1].feature) {
            read_feature(trees, rows, first, count, here->feature, values);
        }
        if (here->kind == CATEGORIES) {
            for (size_t row = 0; row < RANKED_ROWS; row++) {
                const int is_category = values[row] >= 0 && values[row] < 256;
                bytes[row] = with_sign(trees->categories[here->start + (is_category ? (int)values[row] : 256)]);
            }
            continue;
        }
        if (here->kind == MISSING_RIGHT) {
            rank(trees->thresholds + here->start, here->count, values, ranks);
        }
        for (size_t row = 0; row < RANKED_ROWS; row++) {
            const int goes_left = here->kind == MISSING_LEFT && values[row] != values[row];
            bytes[row] = with_sign(goes_left ? 0 : ranks[row]);
        }
    }
}

/* Find the leaves of LANES rows: each test, from the last to the first, chooses between what its two sides have found. */
INLINE void choose(const test *tests, int64_t count, const int8_t *columns, lanes *found, uint8_t *leaves) {
#pragma GCC unroll 4 /* clang does not by itself, and takes a quarter longer */
    for (int64_t place = count - 1; place >= 0; place--) {
        const test here = tests[place];
        lanes bytes;
        memcpy(&bytes, columns + here.column * RANKED_ROWS, sizeof bytes);
        const lanes is_right = bytes > with_sign((uint8_t)here.rank);
        found[MAX_LEAVES + place] = (is_right & found[here.right]) | (~is_right & found[here.left]);
    }
    memcpy(leaves, found + (count ? MAX_LEAVES : 0), sizeof *found);
}

INLINE void add_ranked_blocks(const ranked *trees, const block *rows, int8_t *columns) {
    lanes found[2 * MAX_LEAVES];
    uint8_t leaves[RANKED_ROWS] = {0};
    uint32_t numbers[RANKED_ROWS];
    for (int leaf = 0; leaf < MAX_LEAVES; leaf++) {
        memset(found + leaf, leaf, sizeof *found);
    }
    for (int64_t first = 0; first < rows->rows; first += RANKED_ROWS) {
        const size_t count = (size_t)(rows->rows - first < RANKED_ROWS ? rows->rows - first : RANKED_ROWS);
        fill_columns(trees, rows, first, count, columns);
        for (int64_t tree = 0; tree < trees->of.trees; tree++) {
            const test *tests = trees->tests + trees->starts[tree];
            const double *values = trees->of.values + trees->value_starts[tree] * trees->of.width;
            for (size_t row = 0; row < count; row += LANES) {
                choose(tests, trees->starts[tree + 1] - trees->starts[tree], columns + row, found, leaves + row);
            }
            for (size_t row = 0; row < RANKED_ROWS; row++) {
                numbers[row] = leaves[row];
            }
            add_leaves(&trees->of, rows, first, count, tree, values, numbers);
        }
    }
}

#ifdef __x86_64__
static __attribute__((target("avx2"))) void add_wide(const ranked *trees, const block *rows, int8_t *columns) {
    add_ranked_blocks(trees, rows, columns);
}
#endif

static void add_narrow(const ranked *trees, const block *rows, int8_t *columns) { add_ranked_blocks(trees, rows, columns); }

/* Add up small trees. Returns 0 if memory is lacking, and 1 otherwise. */
int add_ranked(const ranked *trees, const block *rows) {
    int8_t *columns = malloc((size_t)trees->n_columns * RANKED_ROWS + 1);
    if (columns == NULL) {
        return 0;
    }
#ifdef __x86_64__
    (trees->is_wide ? add_wide : add_narrow)(trees, rows, columns);
#else
    add_narrow(trees, rows, columns);
#endif
    free(columns);
    return 1;
}
