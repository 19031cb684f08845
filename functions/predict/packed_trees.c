/* Adds up the trees of an ensemble, row by row and tree by tree, in the order in which scikit-learn adds them.

   packed_trees.py lays the trees out, calls this through ctypes, and compares the sums with scikit-learn's own, bit for bit. Nothing
   here allocates but the two entry points, and nothing calls more than libc. A sum is the same to the bit only if no addition is
   fused with a multiplication unless scikit-learn's own is: compile with -ffp-contract=off. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,       /* of these structures; packed_trees.py refuses another */
    WALKED_ROWS = 4096, /* rows of a block: they stay in the second cache while the trees pass by */
    STEPPED = 8,       /* rows that walk down a tree side by side, so that their waits for memory overlap */
    RANKED_ROWS = 512, /* rows of a block whose ranks stay in the first cache */
    LANES = 32,        /* rows that are tested by one instruction, or by two where vectors have 16 bytes */
    MAX_LEAVES = 256,  /* of a ranked tree: a leaf's number is a byte */
    SET_BYTES = 257,   /* a category's byte each, and the missing value's */
};

/* The rows to score, and the sums to add to. Strides are in elements. */
typedef struct {
    const void *x;
    int64_t rows, row_stride, feature_stride;
    double *sums;
    int64_t sums_row_stride, sums_output_stride;
} block;

/* What both kinds of trees have. Tree t adds the `width` numbers of the leaf to the outputs from `t % turns` on, times `scale`. */
typedef struct {
    const double *values;
    int64_t trees, width, turns;
    double scale;
} ensemble;

/* scikit-learn's own line is `sum += scale * value`. Compilers for 64-bit ARM fuse it there by default, and nothing is fused on x86. */
static inline double added(double sum, double scale, double value) {
#ifdef __aarch64__
    return fma(scale, value, sum);
#else
    return sum + scale * value;
#endif
}

static inline void add_leaf(const ensemble *of, const block *to, int64_t row, int64_t tree, const double *values) {
    double *sums = to->sums + row * to->sums_row_stride + tree % of->turns * to->sums_output_stride;
    for (int64_t output = 0; output < of->width; output++) {
        double *sum = sums + output * to->sums_output_stride;
        *sum = added(*sum, of->scale, values[output]);
    }
}

/* --- walked trees: any size, float32 features -------------------------------------------------------------------------------- */

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

/* Copy rows into `to`, one behind the other, each with minus infinity at its end; tell whether a value is missing. */
static int gather(const walked *trees, const block *rows, int64_t first, size_t count, float *to) {
    const size_t row_size = (size_t)trees->n_features + 1;
    int is_missing = 0;
    for (size_t feature = 0; feature < row_size - 1; feature++) {
        const float *from = (const float *)rows->x + first * rows->row_stride + trees->features[feature] * rows->feature_stride;
        for (size_t row = 0; row < count; row++) {
            const float value = from[(int64_t)row * rows->row_stride];
            to[row * row_size + feature] = value;
            is_missing |= value != value;
        }
    }
    for (size_t row = 0; row < count; row++) {
        to[row * row_size + row_size - 1] = -INFINITY;
    }
    return is_missing;
}

/* Add up the trees for float32 features. Returns 0 if memory is lacking, and 1 otherwise. */
int add_walked(const walked *trees, const block *rows) {
    const size_t row_size = (size_t)trees->n_features + 1;
    float *gathered = calloc(WALKED_ROWS * row_size, sizeof *gathered);
    uint32_t *found = malloc(WALKED_ROWS * sizeof *found);
    const int is_room = gathered && found;
    for (int64_t first = 0; is_room && first < rows->rows; first += WALKED_ROWS) {
        const size_t count = (size_t)(rows->rows - first < WALKED_ROWS ? rows->rows - first : WALKED_ROWS);
        const int is_missing = gather(trees, rows, first, count, gathered);
        for (int64_t tree = 0; tree < trees->of.trees; tree++) {
            const node *nodes = trees->nodes + trees->starts[tree];
            if (is_missing) {
                walk(nodes, (uint32_t)trees->shift, gathered, row_size, count, found, 1);
            } else {
                walk(nodes, (uint32_t)trees->shift, gathered, row_size, count, found, 0);
            }
            for (size_t row = 0; row < count; row++) {
                uint32_t number;
                memcpy(&number, &nodes[found[row]].threshold, sizeof number);
                add_leaf(&trees->of, rows, first + (int64_t)row, tree, trees->of.values + number * trees->of.width);
            }
        }
    }
    free(gathered);
    free(found);
    return is_room;
}

int packed_trees_version(void) { return VERSION; }
