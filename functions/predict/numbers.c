/* Reads the columns of numbers of CSV records: into one array by columns, each number rounded to the nearest double.

   prediction_handler.py has cut the records and checked their quotes, and number_kernel.py calls this through ctypes. What is here is
   the usual spelling of a number alone: -12.5e-3. A column that has any other in it is declined, and pyarrow reads it. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORD = 8,             /* bytes that are looked at together */
    WINDOW = 2 * WORD,
    ROOM = 4 * WORD,      /* bytes before and behind a record that may be looked at */
    EXACT_DIGITS = 15,    /* of numbers that all are less than 2^53 */
    FAMILIAR = 8,         /* numbers of one form after which the next one is expected to have it */
    MOST_DIGITS = 19,     /* that 64 bits hold, whatever they are */
    FIRST_POWER = -342,   /* the range of powers of ten whose products with 64 bits may be finite and not zero */
    LAST_POWER = 308,
    EXPONENT_DIGITS = 4,  /* of an exponent that may be in that range */
    MANTISSA_BITS = 52,
    LARGEST_EXPONENT = 0x7ff,
};

enum { UNREAD = -1, COPIED = -2 }; /* what is not a number: fields that nobody wants, and fields that are copied */

typedef uint8_t octets __attribute__((vector_size(WINDOW)));
typedef uint16_t shorts __attribute__((vector_size(WINDOW)));
typedef uint32_t words __attribute__((vector_size(WINDOW)));
typedef uint64_t longs __attribute__((vector_size(WINDOW)));

typedef struct {
    const uint8_t *data; /* row i is [offsets[i] + line_end, offsets[i + 1]); a line end stands there */
    int64_t size;
    const int32_t *offsets;
    int64_t rows, line_end;
    int64_t delimiter, decimal; /* octets: what stands between fields, and before the decimals of a number */
    const int32_t *columns; /* for each of the `fields` of a record: the column of its numbers, or UNREAD or COPIED */
    int64_t fields;
    const uint64_t *powers; /* of five, from FIRST_POWER on, two words each: number_kernel.py */
    double *values;         /* (columns, rows) */
    int64_t *missing;       /* for each column, how many fields are empty: these are NaN */
    uint8_t *is_large;      /* whether a number may be beyond 2^53, from where on doubles do not hold all integers */
    uint8_t *is_declined;
    uint8_t *copied; /* CSV of the fields that are copied: there is room for all records */
} request;

/* A field of the records, and the form of its numbers: of those that have at most EXACT_DIGITS digits, and no exponent. */
typedef struct {
    octets digits, decimals; /* masks of the last bytes of a window: as many as there are digits, and behind the point */
    double *values;          /* of its column; NULL if it is not read */
    double power;            /* of ten, by which the digits are divided */
    int32_t column;
    uint16_t form;
    uint8_t seen;          /* how often numbers had this form since they had another, up to FAMILIAR: then the form is expected */
    uint8_t length, point; /* of numbers without their sign, and where the point is, from the end; 0 if there is none */
} field;

static const double exact_powers[MOST_DIGITS + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                                                     1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
static const uint64_t whole_powers[WORD + 1] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

static inline uint64_t word_at(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word; /* both of Lambda's processors have the first byte in the lowest bits */
}

#define HIGHEST_BITS UINT64_C(0x8080808080808080)
/* What brings the number of two neighbours into the upper one: of digits, of numbers up to 99, of numbers up to 9999. */
#define JOIN_ONES (1 + (10 << 8))
#define JOIN_TWOS (1 + (100 << 16))
#define JOIN_FOURS (1 + (UINT64_C(10000) << 32))

/* Return the bytes before the first of which `marks` has the highest bit. */
static inline unsigned bytes_before(uint64_t marks) { return marks ? (unsigned)__builtin_ctzll(marks) / 8 : WORD; }

/* Read digits behind those of `*number`, and return the end; beyond MOST_DIGITS in all, the number is wrong. */
static inline const uint8_t *read_digits(const uint8_t *at, uint64_t *number) {
    unsigned count;
    do {
        uint64_t digits = word_at(at) ^ UINT64_C(0x3030303030303030);
        count = bytes_before(((digits + UINT64_C(0x7676767676767676)) | digits) & HIGHEST_BITS);
        digits = digits << (32 - 4 * count) << (32 - 4 * count); /* as if zeros stood before them */
        const uint64_t twos = (digits * JOIN_ONES >> 8) & UINT64_C(0x00ff00ff00ff00ff);
        const uint64_t fours = (twos * JOIN_TWOS >> 16) & UINT64_C(0x0000ffff0000ffff);
        *number = *number * whole_powers[count] + (fours * JOIN_FOURS >> 32);
        at += count;
    } while (count == WORD);
    return at;
}

static octets last_bytes(int64_t count) {
    static const uint8_t masks[2 * WINDOW] = {[WINDOW] = 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    octets mask;
    memcpy(&mask, masks + count, sizeof mask);
    return mask;
}

/* Note the form of a number. */
static inline void see(field *of, int64_t length, int64_t digits, int64_t decimals) {
    const uint16_t form = (uint16_t)(length << 8 | digits << 4 | decimals);
    of->seen = (uint8_t)((of->seen + 1) & -(form == of->form)); /* as good as random, so no jump */
    of->form = form;
    if (of->seen == FAMILIAR) {
        const int64_t point = length > digits;
        of->length = (uint8_t)length;
        of->point = (uint8_t)(point * (decimals + 1));
        of->digits = last_bytes(digits);
        of->decimals = last_bytes(point ? decimals : WINDOW);
        of->power = exact_powers[decimals];
    }
}

/* Read a number of the form that is expected, which ends here; returns whether it has that form. Where it ends does not have to be
   found then, for which the next one would wait. */
static inline int read_familiar(const field *of, const uint8_t *end, uint8_t decimal, uint64_t *number) {
    octets window, before;
    memcpy(&window, end - WINDOW, sizeof window);
    memcpy(&before, end - WINDOW - 1, sizeof before);
    window = (((window & of->decimals) | (before & ~of->decimals)) ^ '0') & of->digits; /* without the point */
    const longs others = (longs)((window + 0x76) | window);
    const shorts twos = ((shorts)window & 0xff) * 10 + ((shorts)window >> 8);
    const words hundreds = (words)(twos * (shorts){100, 1, 100, 1, 100, 1, 100, 1});
    const longs fours = (longs)((hundreds & 0xffff) + (hundreds >> 16));
    *number = (fours[0] * JOIN_FOURS >> 32) * whole_powers[WORD] + (fours[1] * JOIN_FOURS >> 32);
    return !((others[0] | others[1]) & HIGHEST_BITS) && (of->point == 0 || end[-(int)of->point] == decimal);
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

/* The same for json_lines.c; what this file calls itself must not be visible, or the compiler would not put it where it is called. */
uint64_t rounded_number(uint64_t number, int64_t power, const uint64_t *powers) { return rounded(number, power, powers); }

static inline int is_digit(uint8_t octet) { return (uint8_t)(octet - '0') <= 9; }

/* Read a number without its sign that may be long, or have an exponent. Returns its end; NULL if it is not one, or not here. */
static __attribute__((noinline)) const uint8_t *read_rare(const request *of, const uint8_t *at, double *value) {
    const uint8_t *zeros = at;
    while (*at == '0') {
        at++;
    }
    uint64_t number = 0;
    const uint8_t *end = read_digits(at, &number);
    int64_t digits = end - at, power = 0;
    int is_number = end > zeros;
    if (*end == (uint8_t)of->decimal) {
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
        bits = rounded(number, power, of->powers);
    }
    memcpy(value, &bits, sizeof bits);
    return isfinite(*value) ? end : NULL;
}

static inline int ends(const request *of, const uint8_t *at, const uint8_t *end) { return *at == (uint8_t)of->delimiter || at == end; }

/* Read a number without its sign; returns its end, or NULL if it is not one, or not here. */
static __attribute__((noinline)) const uint8_t *read_any(
    const request *of, const uint8_t *first, const uint8_t *end, field *to, double *value
) {
    const uint8_t decimal = (uint8_t)of->decimal;
    uint64_t number = 0;
    const uint8_t *after = first + 1;
    if (*after == decimal && is_digit(*first)) { /* the most frequent case, without the wait for the number of digits */
        number = (uint64_t)(*first - '0');
    } else {
        after = read_digits(first, &number);
    }
    int64_t digits = after - first, decimals = 0;
    if (*after == decimal) {
        const uint8_t *point = after + 1;
        after = read_digits(point, &number);
        decimals = after - point;
        digits += decimals;
    }
    if (!ends(of, after, end) || (uint64_t)(digits - 1) >= MOST_DIGITS) {
        after = read_rare(of, first, value);
    } else if (number < UINT64_C(1) << 53) {
        *value = (double)(int64_t)number / exact_powers[decimals];
        if (digits <= EXACT_DIGITS) {
            see(to, after - first, digits, decimals);
        }
        return after;
    } else {
        const uint64_t bits = rounded(number, -decimals, of->powers);
        memcpy(value, &bits, sizeof bits);
    }
    if (after == NULL || !ends(of, after, end)) {
        return NULL;
    }
    of->is_large[to->column] |= *value >= 9007199254740992.0;
    return after;
}

/* Read a number into a row of its column; returns where it ends, or NULL if it is not one. */
static inline const uint8_t *read_number(const request *of, const uint8_t *at, const uint8_t *end, int64_t row, field *to) {
    const int is_negative = *at == '-';
    const uint8_t *first = at + is_negative, *after = first + to->length;
    uint64_t number;
    double found;
    if (to->seen == FAMILIAR && ends(of, after, end) && read_familiar(to, after, (uint8_t)of->decimal, &number)) {
        found = (double)(int64_t)number / to->power;
    } else if (ends(of, at, end)) {
        of->missing[to->column]++;
        to->values[row] = NAN;
        return at;
    } else {
        double any;
        after = read_any(of, first, end, to, &any);
        if (after == NULL) {
            return NULL;
        }
        found = any;
    }
    uint64_t bits; /* signs are as good as random, so no jump */
    memcpy(&bits, &found, sizeof bits);
    bits ^= (uint64_t)is_negative << 63;
    memcpy(to->values + row, &bits, sizeof bits);
    return after;
}

static const uint8_t *end_of_field(const request *of, const uint8_t *at, const uint8_t *end) {
    const uint64_t delimiters = (uint64_t)of->delimiter * UINT64_C(0x0101010101010101);
    while (*at == '"' && at < end) { /* what follows a quote has been checked: a delimiter, the end, or another one, which is doubled */
        const uint8_t *other = memchr(at + 1, '"', (size_t)(end - at - 1));
        at = other ? other + 1 : end;
    }
    while (at < end) {
        const uint64_t others = word_at(at) ^ delimiters;
        const unsigned count = bytes_before((others - UINT64_C(0x0101010101010101)) & ~others & UINT64_C(0x8080808080808080));
        if (count < WORD) {
            return at + count < end ? at + count : end;
        }
        at += WORD;
    }
    return end;
}

/* Read a record; returns whether it has as many fields as it should. */
static inline int read_record(const request *of, field *fields, const uint8_t *at, const uint8_t *end, int64_t row, uint8_t **copied) {
    const field *last = fields + of->fields - 1;
    for (field *one = fields; one <= last; one++) {
        const uint8_t *first = at;
        at = one->values ? read_number(of, first, end, row, one) : end_of_field(of, first, end);
        if (at == NULL) {
            of->is_declined[one->column] = 1;
            one->values = NULL;
            at = end_of_field(of, first, end);
        }
        if (one->column == COPIED) {
            memcpy(*copied, first, (size_t)(at - first));
            *copied += at - first;
            *(*copied)++ = (uint8_t)of->delimiter;
        }
        if (one != last && at++ == end) {
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
    field *fields = calloc((size_t)of->fields, sizeof *fields);
    for (int64_t place = 0; fields && place < of->fields; place++) {
        const int32_t column = of->columns[place];
        fields[place].column = column;
        fields[place].values = column >= 0 ? of->values + column * of->rows : NULL;
    }
    for (; fields && row < of->rows; row++) {
        const uint8_t *at = of->data + of->offsets[row] + of->line_end, *end = of->data + of->offsets[row + 1];
        const uint8_t *before = copied;
        if (of->size - of->offsets[row + 1] < ROOM || of->offsets[row] < ROOM) {
            const size_t size = (size_t)(end - at);
            free(copy);
            copy = calloc(ROOM + size + ROOM, 1);
            if (copy == NULL) {
                break;
            }
            memcpy(copy + ROOM, at, size);
            at = copy + ROOM;
            end = at + size;
        }
        if (!read_record(of, fields, at, end, row, &copied)) {
            break;
        }
        if (copied != before) {
            copied[-1] = '\n';
        }
    }
    free(copy);
    free(fields);
    return row == of->rows ? (int)(copied - of->copied) : -1;
}
