/* Reads the columns of numbers of CSV records: into one array by columns, each number rounded to the nearest double.

   prediction_handler.py has cut the records and checked their quotes, and number_kernel.py calls this through ctypes. What is here is
   the usual spelling of a number alone: -12.5e-3. A column that has any other in it is declined, and pyarrow reads it. At the end are
   two things more that cost too much in NumPy and pyarrow: where an octet is, and records joined with printed predictions. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    WORD = 8,             /* bytes that are looked at together */
    ROOM = 2 * WORD,      /* bytes behind a record that may be looked at */
    MOST_DIGITS = 19,     /* that 64 bits hold, whatever they are */
    FIRST_POWER = -342,   /* the range of powers of ten whose products with 64 bits may be finite and not zero */
    LAST_POWER = 308,
    EXPONENT_DIGITS = 4,  /* of an exponent that may be in that range */
    MANTISSA_BITS = 52,
    LARGEST_EXPONENT = 0x7ff,
};

enum { UNREAD = -1, COPIED = -2 }; /* what is not a number: fields that nobody wants, and fields that are copied */

typedef struct {
    const uint8_t *data; /* row i is [offsets[i] + line_end, offsets[i + 1]); a line end stands there */
    int64_t size;
    const int32_t *offsets;
    int64_t rows, line_end;
    const int32_t *columns; /* for each of the `fields` of a record: the column of its numbers, or UNREAD or COPIED */
    int64_t fields;
    const uint64_t *powers; /* of five, from FIRST_POWER on, two words each: number_kernel.py */
    double *values;         /* (columns, rows) */
    int64_t *missing;       /* for each column, how many fields are empty: these are NaN */
    uint8_t *is_large;      /* whether a number may be beyond 2^53, from where on doubles do not hold all integers */
    uint8_t *is_declined;
    uint8_t *copied; /* CSV of the fields that are copied: there is room for all records */
} request;

static const double exact_powers[MOST_DIGITS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                                     1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
static const uint64_t whole_powers[WORD + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

static inline uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word; /* both of Lambda's processors have the first byte in the lowest bits */
}

/* Return the bytes before the first of which `marks` has the highest bit. */
static inline unsigned bytes_before(uint64_t marks) { return marks ? (unsigned)__builtin_ctzll(marks) / 8 : WORD; }

/* Read digits behind those of `*number`, and return the end; beyond MOST_DIGITS in all, the number is wrong. */
static inline const uint8_t *read_digits(const uint8_t *at, uint64_t *number) {
    unsigned count;
    do {
        uint64_t digits = word_at(at) ^ UINT64_C(0x3030303030303030);
        count = bytes_before(((digits + UINT64_C(0x7676767676767676)) | digits) & UINT64_C(0x8080808080808080));
        digits = digits << (32 - 4 * count) << (32 - 4 * count); /* as if zeros stood before them */
        digits = digits * 10 + (digits >> 8);                    /* each other byte has two digits */
        const uint64_t even = digits & UINT64_C(0xff000000ff), odd = (digits >> 16) & UINT64_C(0xff000000ff);
        const uint64_t value = (even * (100 + (UINT64_C(1000000) << 32)) + odd * (1 + (UINT64_C(10000) << 32))) >> 32;
        *number = *number * whole_powers[count] + value;
        at += count;
    } while (count == WORD);
    return at;
}

/* Round `number` times ten to the `power`, none of which is out of range, to the nearest double, and return its bits. By Lemire,
   "Number parsing at a gigabyte per second" (2021); Mushtak and Lemire (2023) prove that this never needs more digits. */
static uint64_t rounded(uint64_t number, int64_t power, const uint64_t *powers) {
    const uint64_t *factor = powers + 2 * (power - FIRST_POWER);
    const int zeros = __builtin_clzll(number);
    number <<= zeros;
    unsigned __int128 product = (unsigned __int128)number * factor[0];
    const uint64_t below = UINT64_MAX >> (MANTISSA_BITS + 3);
    if (((uint64_t)(product >> 64) & below) == below) { /* the rest of the factor may change what matters */
        product += ((unsigned __int128)number * factor[1]) >> 64;
    }
    const uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    const int upper = (int)(high >> 63), shift = upper + 64 - MANTISSA_BITS - 3;
    uint64_t mantissa = high >> shift;
    int64_t exponent = (((152170 + 65536) * power) >> 16) + 63 + upper - zeros + 1023;
    if (exponent <= 0) { /* less than the smallest normal number */
        if (exponent <= -63) {
            return 0;
        }
        mantissa >>= 1 - exponent;
        return (mantissa + (mantissa & 1)) >> 1; /* what carries over is the smallest normal number */
    }
    if (low <= 1 && power >= -4 && power <= 23 && (mantissa & 3) == 1 && mantissa << shift == high) {
        mantissa &= ~UINT64_C(1); /* just between two doubles: to the even one */
    }
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >> (MANTISSA_BITS + 1)) {
        mantissa >>= 1;
        exponent++;
    }
    if (exponent >= LARGEST_EXPONENT) {
        return (uint64_t)LARGEST_EXPONENT << MANTISSA_BITS;
    }
    return (uint64_t)exponent << MANTISSA_BITS | (mantissa & ((UINT64_C(1) << MANTISSA_BITS) - 1));
}

static inline int is_digit(uint8_t octet) { return (uint8_t)(octet - '0') <= 9; }

/* Read a number without its sign that may be long, or have an exponent. Returns its end; NULL if it is not one, or not here. */
static __attribute__((noinline)) const uint8_t *read_rare(const uint8_t *at, double *value, const uint64_t *powers) {
    const uint8_t *zeros = at;
    while (*at == '0') {
        at++;
    }
    uint64_t number = 0;
    const uint8_t *end = read_digits(at, &number);
    int64_t digits = end - at, power = 0;
    int is_number = end > zeros;
    if (*end == '.') {
        const uint8_t *first = ++end;
        if (digits == 0) {
            while (*end == '0') {
                end++;
            }
        }
        const uint8_t *after_zeros = end;
        end = read_digits(end, &number);
        digits += end - after_zeros;
        power = first - end;
        is_number |= power != 0;
    }
    if (!is_number || digits > MOST_DIGITS) {
        return NULL;
    }
    if ((*end | 0x20) == 'e') {
        const int is_negative = *++end == '-';
        end += is_negative || *end == '+';
        const uint8_t *first = end;
        uint64_t exponent = 0;
        end = read_digits(end, &exponent);
        if (end == first || end - first > EXPONENT_DIGITS) {
            return NULL;
        }
        power += is_negative ? -(int64_t)exponent : (int64_t)exponent;
    }
    uint64_t bits = 0;
    if (number && power > LAST_POWER) {
        return NULL; /* infinite */
    }
    if (number && power >= FIRST_POWER) {
        bits = rounded(number, power, powers);
    }
    memcpy(value, &bits, sizeof bits);
    return isfinite(*value) ? end : NULL;
}

static inline int ends(const uint8_t *at, const uint8_t *end) { return *at == ',' || at == end; }

/* Read a field into a place of a column; returns where the field ends, or NULL if it is not a number. */
static inline const uint8_t *read_number(const request *of, const uint8_t *at, const uint8_t *end, int32_t column, double *value) {
    const int is_negative = *at == '-';
    const uint8_t *first = at + is_negative;
    uint64_t number = 0;
    const uint8_t *after = first + 1;
    if (*after == '.' && is_digit(*first)) { /* the most frequent case, without the wait for the number of digits */
        number = (uint64_t)(*first - '0');
    } else {
        after = read_digits(first, &number);
    }
    int64_t digits = after - first, decimals = 0;
    if (*after == '.') {
        const uint8_t *point = after + 1;
        after = read_digits(point, &number);
        decimals = after - point;
        digits += decimals;
    }
    double found;
    if (ends(after, end) && (uint64_t)(digits - 1) < MOST_DIGITS && number < UINT64_C(1) << 53) {
        found = (double)(int64_t)number / exact_powers[decimals];
    } else if (ends(at, end)) {
        of->missing[column]++;
        *value = NAN;
        return at;
    } else {
        after = read_rare(first, &found, of->powers);
        if (after == NULL || !ends(after, end)) {
            return NULL;
        }
        of->is_large[column] |= found >= 9007199254740992.0;
    }
    uint64_t bits; /* signs are as good as random, so no jump */
    memcpy(&bits, &found, sizeof bits);
    bits ^= (uint64_t)is_negative << 63;
    memcpy(value, &bits, sizeof bits);
    return after;
}

static const uint8_t *end_of_field(const uint8_t *at, const uint8_t *end) {
    while (*at == '"' && at < end) { /* what follows a quote has been checked: a comma, the end, or another one, which is doubled */
        const uint8_t *other = memchr(at + 1, '"', (size_t)(end - at - 1));
        at = other ? other + 1 : end;
    }
    while (at < end) {
        const uint64_t others = word_at(at) ^ UINT64_C(0x2c2c2c2c2c2c2c2c);
        const unsigned count = bytes_before((others - UINT64_C(0x0101010101010101)) & ~others & UINT64_C(0x8080808080808080));
        if (count < WORD) {
            return at + count < end ? at + count : end;
        }
        at += WORD;
    }
    return end;
}

/* Read a record; returns whether it has as many fields as it should. */
static inline int read_record(const request *of, const uint8_t *at, const uint8_t *end, int64_t row, uint8_t **copied) {
    for (int64_t field = 0; field < of->fields; field++) {
        const int32_t column = of->columns[field];
        const uint8_t *first = at;
        if (column >= 0 && !of->is_declined[column]) {
            at = read_number(of, first, end, column, of->values + column * of->rows + row);
            if (at == NULL) {
                of->is_declined[column] = 1;
                at = end_of_field(first, end);
            }
        } else {
            at = end_of_field(first, end);
        }
        if (column == COPIED) {
            memcpy(*copied, first, (size_t)(at - first));
            *copied += at - first;
            *(*copied)++ = ',';
        }
        if (field < of->fields - 1 && at++ == end) {
            return 0;
        }
    }
    return at == end;
}

/* Read all records. Returns how many bytes were copied to `copied`; less than none if a record has too few or too many fields, or if
   memory is lacking. */
int read_numbers(const request *of) {
    uint8_t *copied = of->copied, *copy = NULL;
    int64_t row = 0;
    for (; row < of->rows; row++) {
        const uint8_t *at = of->data + of->offsets[row] + of->line_end, *end = of->data + of->offsets[row + 1];
        const uint8_t *before = copied;
        if (of->size - of->offsets[row + 1] < ROOM) {
            const size_t size = (size_t)(end - at);
            free(copy);
            copy = calloc(size + ROOM, 1);
            if (copy == NULL) {
                break;
            }
            memcpy(copy, at, size);
            at = copy;
            end = at + size;
        }
        if (!read_record(of, at, end, row, &copied)) {
            break;
        }
        if (copied != before) {
            copied[-1] = '\n';
        }
    }
    free(copy);
    return row == of->rows ? (int)(copied - of->copied) : -1;
}

/* --- octets and texts ------------------------------------------------------------------------------------------------------------ */

/* Return which of the next 64 bytes are an octet, the first one in the lowest bit. */
static inline uint64_t places_of(const uint8_t *at, uint8_t octet) {
    uint64_t places = 0;
#ifdef __SSE2__
    const __m128i wanted = _mm_set1_epi8((char)octet);
    for (int part = 0; part < 4; part++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(at + 16 * part));
        places |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted)) << 16 * part;
    }
#else
    for (int part = 0; part < 8; part++) {
        const uint64_t others = word_at(at + WORD * part) ^ octet * UINT64_C(0x0101010101010101);
        const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f), marks = ~(((others & low) + low) | others | low);
        places |= (marks >> 7) * UINT64_C(0x0102040810204080) >> 56 << 8 * part; /* the highest bits, side by side */
    }
#endif
    return places;
}

/* Write where an octet is in [first, stop), and return how often; there must be room for as many places as there are bytes. */
int find_octet(const uint8_t *data, int64_t first, int64_t stop, int octet, int32_t *found) {
    int count = 0;
    for (; first < stop; first += 64) {
        uint64_t places;
        if (stop - first >= 64) {
            places = places_of(data + first, (uint8_t)octet);
        } else {
            uint8_t last[64] = {0};
            memcpy(last, data + first, (size_t)(stop - first));
            places = places_of(last, (uint8_t)octet) & ((UINT64_C(1) << (stop - first)) - 1);
        }
        for (; places; places &= places - 1) {
            found[count++] = (int32_t)(first + __builtin_ctzll(places));
        }
    }
    return count;
}

typedef struct {
    const uint8_t *octets;
    const int32_t *offsets; /* text i is [offsets[i], offsets[i + 1]) */
} texts;

/* Write the first texts of all columns, then the second ones, and so on; there must be room for all. */
void join_texts(const texts *columns, int64_t n_columns, int64_t rows, uint8_t *joined) {
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t column = 0; column < n_columns; column++) {
            const int32_t first = columns[column].offsets[row];
            const size_t size = (size_t)(columns[column].offsets[row + 1] - first);
            memcpy(joined, columns[column].octets + first, size);
            joined += size;
        }
    }
}
