/* Measures columns of numbers, and counts their values in bins, in one pass.

   prediction_handler.py says what is measured and what a bin is, and does the same with NumPy where there is no kernel;
   statistics_kernel.py calls this through ctypes. Only sums may differ from NumPy's, in their last bits, as they are added in another
   order: by lanes, the same ones on every processor. Compile with -ffp-contract=off, so that they have the same bits, too. Nothing
   is allocated. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
enum { VECTOR_BYTES = 32 }; /* as AVX2 has them; without it, each is two */
#else
enum { VECTOR_BYTES = 16 };
#endif

enum {
    WIDTH = 8, /* sums that grow side by side, so that none waits for its own last addition */
    LANES = VECTOR_BYTES / sizeof(double),
    VECTORS = WIDTH / LANES,
    MEASURED = 1024,       /* rows that stay in the first cache while they are looked at again */
    INFINITE = 0x7f800000, /* the bits of an infinite float; those of NaN are more */
    SHARES = 65000,        /* equal parts by which probabilities are counted */
    WHOLE = 257,           /* bins of whole numbers, from -128 to 128 */
    TURNS = 4,
    ZERO_CELL = 0x7fff,    /* of either sign */
    COARSE_BITS = 3,
};

#define INLINE static inline __attribute__((always_inline))
#define CHOOSE(mask, yes, no) ((doubles)(((mask) & (longs)(yes)) | (~(mask) & (longs)(no))))

typedef double doubles __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t longs __attribute__((vector_size(VECTOR_BYTES)));

/* `missing` counts NaN, `infinite` what has a square that no float32 holds; all else is of the finite values. */
typedef struct {
    double missing, infinite, total, squares, low, is_whole, high;
} measures;

typedef struct {
    const double *const *columns;
    int64_t n_columns, rows;
    const uint8_t *are_shares; /* for each column: whether its values from 0 to 1 are counted as probabilities */
    const uint16_t *bins;      /* of each cell */
    const uint16_t *coarse_bins; /* likewise, of buckets that are coarser by COARSE_BITS */
    uint8_t *are_coarse;       /* for each column: whether it is so wide that coarse bins are fine enough; this finds out, too */
    int64_t most;              /* buckets that a histogram may have */
    const uint16_t *share_bins; /* of each of SHARES + 1 probabilities */
    int64_t first_whole;       /* the bin of -128 */
    int64_t is_wide;           /* whether the processor has AVX2 */
    double *measures;          /* an array of each with an element for each column, in their order */
    int64_t n_bins;
    uint32_t *counts;          /* (columns, n_bins), to which is added */
} request;

/* Measure a multiple of WIDTH values. `are_plain` is a constant where this is inlined; if they are not, nothing is measured, and
   0 is returned. */
INLINE int add_up(const double *values, size_t count, measures *to, int are_plain) {
    doubles total[VECTORS] = {0}, squares[VECTORS] = {0}, low[VECTORS], high[VECTORS];
    for (size_t one = 0; one < VECTORS; one++) {
        low[one] = total[one] + INFINITY;
        high[one] = total[one] - INFINITY;
    }
    for (size_t row = 0; row < count; row += WIDTH) {
        for (size_t one = 0; one < VECTORS; one++) {
            doubles value;
            memcpy(&value, values + row + one * LANES, sizeof value);
            const doubles finite = are_plain ? value : value + (value - value); /* NaN if the value is infinite, too */
            const doubles kept = are_plain ? value : (doubles)((longs)value & (finite == finite));
            total[one] += kept;
            squares[one] += kept * kept;
            low[one] = CHOOSE(finite < low[one], finite, low[one]);
            high[one] = CHOOSE(finite > high[one], finite, high[one]);
        }
    }
    double sum_of_squares = 0;
    for (size_t lane = 0; lane < WIDTH; lane++) {
        sum_of_squares += squares[lane / LANES][lane % LANES];
    }
    if (are_plain && !(sum_of_squares < 0x1p126)) { /* also NaN */
        return 0;
    }
    to->squares += sum_of_squares;
    for (size_t lane = 0; lane < WIDTH; lane++) {
        const double least = low[lane / LANES][lane % LANES], most = high[lane / LANES][lane % LANES];
        to->total += total[lane / LANES][lane % LANES];
        to->low = least < to->low ? least : to->low;
        to->high = most > to->high ? most : to->high;
    }
    return 1;
}

/* Find the cells of values, zero's for those without one, and count these; plain values all have one. */
INLINE void find_cells(const double *values, size_t count, uint16_t *cells, measures *to, int are_plain) {
    int32_t missing = 0, without = 0;
    for (size_t row = 0; row < count; row++) {
        const float single = (float)values[row];
        const float square = fabsf(single) * single; /* keeps the sign */
        int32_t bits;
        memcpy(&bits, &square, sizeof bits);
        if (!are_plain) {
            const int32_t magnitude = bits & INT32_MAX;
            missing += magnitude > INFINITE;
            without += magnitude >= INFINITE;
            bits = magnitude < INFINITE ? bits : 0;
        }
        cells[row] = (uint16_t)(((uint32_t)bits - 1) >> 16); /* - 1: a bucket's upper edge is in it */
    }
    to->missing += missing;
    to->infinite += without - missing;
}

/* Tell whether all finite values are whole numbers; of most columns where they are not, the first ones say so. */
INLINE int are_whole(const double *values, size_t count) {
    const double whole = 0x1p52; /* from here on all are, and below, adding it rounds to one */
    uint64_t odd = 0;
    for (size_t first = 0; !odd && first < count; first += WIDTH) {
        for (size_t row = first; row < first + WIDTH; row++) {
            const double magnitude = fabs(values[row]);
            odd |= (uint64_t)((magnitude + whole) - whole != magnitude) & (uint64_t)(magnitude < whole);
        }
    }
    return !odd;
}

/* Count cells of whole numbers in turns: these are few, and a count that was just written cannot be read at once. */
static void count_whole(const request *of, const uint16_t *cells, size_t rows, uint32_t *counts) {
    uint16_t found[TURNS][WHOLE] = {0};
    for (size_t row = 0; row < rows; row += TURNS) {
        for (size_t turn = 0; turn < TURNS; turn++) {
            const int64_t bin = of->bins[cells[row + turn]], number = bin - of->first_whole;
            if (number >= 0 && number < WHOLE) {
                found[turn][number]++;
            } else {
                counts[bin]++;
            }
        }
    }
    for (int64_t number = 0; number < WHOLE; number++) {
        for (size_t turn = 0; turn < TURNS; turn++) {
            counts[of->first_whole + number] += found[turn][number];
        }
    }
}

/* Tell whether a histogram of these cells alone has buckets of COARSE_BITS or more: then the finer ones need not be told apart, and
   a column's counts take a few cache lines, which other work has replaced since the last block. */
INLINE int are_far_apart(const request *of, const uint16_t *cells, size_t rows) {
    int32_t low = ZERO_CELL, high = 0;
    for (size_t row = 0; row < rows; row++) {
        const int32_t magnitude = cells[row] & ZERO_CELL, largest = magnitude == ZERO_CELL ? 0 : magnitude;
        low = magnitude < low ? magnitude : low;
        high = largest > high ? largest : high;
    }
    while (low < high && of->bins[low] >= of->first_whole) { /* towards each other: at least so far apart they are */
        low++;
    }
    while (low < high && of->bins[high] >= of->first_whole) {
        high--;
    }
    if (low >= high || of->bins[low] == 0) {
        return 0;
    }
    const int64_t first = (of->bins[low] - 1) / 2, last = (of->bins[high] - 1) / 2, bits = COARSE_BITS - 1;
    return (last >> bits) - (first >> bits) >= of->most;
}

static void count_shares(const request *of, const double *values, const uint16_t *cells, size_t rows, uint32_t *counts) {
    for (size_t row = 0; row < rows; row++) {
        const int is_share = values[row] >= 0 && values[row] <= 1;
        const double rounded = is_share ? (values[row] * (double)SHARES + 0x1p52) - 0x1p52 : 0; /* a half to the even one */
        counts[is_share ? of->share_bins[(size_t)rounded] : of->bins[cells[row]]]++;
    }
}

/* Measure a multiple of WIDTH values, at most MEASURED, and count the first `counted` of them. */
INLINE void add_values(const request *of, int64_t number, const double *values, size_t count, size_t counted, measures *to) {
    uint16_t cells[MEASURED];
    uint32_t *counts = of->counts + number * of->n_bins;
    if (add_up(values, count, to, 1)) {
        find_cells(values, count, cells, to, 1);
    } else {
        add_up(values, count, to, 0);
        find_cells(values, count, cells, to, 0);
    }
    const int is_whole = are_whole(values, count);
    to->is_whole = is_whole ? to->is_whole : 0;
    if (of->are_shares[number]) {
        count_shares(of, values, cells, counted, counts);
    } else if (is_whole && counted > WHOLE) {
        count_whole(of, cells, counted, counts);
    } else {
        const uint16_t *bins = of->are_coarse[number] ? of->coarse_bins : of->bins;
        for (size_t row = 0; row < counted; row++) {
            counts[bins[cells[row]]]++;
        }
        if (!of->are_coarse[number]) {
            of->are_coarse[number] = (uint8_t)are_far_apart(of, cells, counted);
        }
    }
}

INLINE void add_column(const request *of, int64_t number) {
    const double *values = of->columns[number];
    const size_t rest = (size_t)of->rows % WIDTH, even = (size_t)of->rows - rest;
    measures found = {.low = INFINITY, .high = -INFINITY, .is_whole = 1};
    for (size_t row = 0; row < even; row += MEASURED) {
        const size_t count = MEASURED < even - row ? MEASURED : even - row;
        add_values(of, number, values + row, count, count, &found);
    }
    if (rest) {
        double filled[WIDTH];
        for (size_t row = 0; row < WIDTH; row++) {
            filled[row] = row < rest ? values[even + row] : NAN;
        }
        add_values(of, number, filled, WIDTH, rest, &found);
        found.missing -= (double)(WIDTH - rest);
    }
    double all[sizeof found / sizeof(double)];
    memcpy(all, &found, sizeof found);
    for (size_t one = 0; one < sizeof all / sizeof *all; one++) {
        of->measures[(int64_t)one * of->n_columns + number] = all[one];
    }
}

static void add_narrow(const request *of, int64_t number) { add_column(of, number); }

#ifdef __x86_64__
static __attribute__((target("avx2"))) void add_wide(const request *of, int64_t number) { add_column(of, number); }
#else
#define add_wide add_narrow
#endif

/* Measure columns, and add their values to the counts. */
void count_columns(const request *of) {
    for (int64_t number = 0; number < of->n_columns; number++) {
        (of->is_wide ? add_wide : add_narrow)(of, number);
    }
}

/* Return the first bin from `bin` on that is not empty; most are. */
INLINE int64_t next_filled(const uint32_t *counts, int64_t bin, int64_t n_bins) {
    for (; bin + WIDTH <= n_bins; bin += WIDTH) {
        uint32_t any = 0;
        for (int64_t one = 0; one < WIDTH; one++) {
            any |= counts[bin + one];
        }
        if (any) {
            break;
        }
    }
    while (bin < n_bins && !counts[bin]) {
        bin++;
    }
    return bin;
}

/* Join the counts of each column to `most` buckets of either sign at most, by making one of two as often as it needs. Bucket 0 is
   zero's; then there is a positive one and a negative one of each magnitude. What is written is: how often that was, the first
   magnitude, the count of zero, and those of the buckets from the first one on, positive ones first. */
void join_buckets(
    int64_t n_columns, int64_t n_bins, int64_t most, const uint32_t *counts, const int64_t *buckets, int64_t *joined
) {
    for (; n_columns > 0; n_columns--, counts += n_bins, joined += 3 + 2 * most) {
        int64_t low = INT64_MAX, high = -1, shift = 0;
        for (int64_t bin = next_filled(counts, 0, n_bins); bin < n_bins; bin = next_filled(counts, bin + 1, n_bins)) {
            if (buckets[bin]) {
                const int64_t place = (buckets[bin] - 1) / 2;
                low = place < low ? place : low;
                high = place > high ? place : high;
            }
        }
        while (high >= 0 && (high >> shift) - (low >> shift) >= most) {
            shift++;
        }
        memset(joined, 0, (size_t)(3 + 2 * most) * sizeof *joined);
        joined[0] = shift;
        joined[1] = high < 0 ? 0 : low >> shift;
        for (int64_t bin = next_filled(counts, 0, n_bins); bin < n_bins; bin = next_filled(counts, bin + 1, n_bins)) {
            const int64_t place = (buckets[bin] - 1) / 2, is_negative = (buckets[bin] - 1) % 2;
            joined[buckets[bin] ? 3 + is_negative * most + (place >> shift) - joined[1] : 2] += counts[bin];
        }
    }
}
