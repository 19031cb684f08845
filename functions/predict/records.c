/* Finds octets in a block, such as line ends, and joins its records with predictions, which it prints if they are numbers: NumPy, pyarrow
   and orjson take longer for that.

   number_kernel.py calls this through ctypes. A number is printed as orjson prints it: by the fewest digits that read back as the same
   double and, among those, the nearest. */

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

enum {
    WORD = 8,               /* bytes, and digits, that are handled together */
    COPIED = 32,            /* bytes of a record that are copied at once */
    TURN = 64,              /* numbers of which the digits are found before they are printed: the place of one hangs on all before */
    MANTISSA_BITS = 52,
    LEAST_EXPONENT = -1074, /* of two, in the smallest number */
    FIRST_POWER = -342,     /* of five, in the table */
    MOST_DIGITS = 17,       /* that a double needs */
    FIRST_PLAIN = -5,       /* powers of ten of the first digit of numbers that are printed without an exponent */
    LAST_PLAIN = 15,
    IS_INFINITE = 1000,     /* in place of a power of ten */
    IS_NAN = 2000,
    LOG10_OF_2 = 1262611,   /* times 2^LOG10_BITS */
    LOG10_OF_4_THIRDS = 524031,
    LOG10_BITS = 22,
    LOG2_OF_10 = 1741647, /* times 2^LOG2_BITS */
    LOG2_BITS = 19,
    DOUBT = 16, /* more than rounding may have added to the last of 128 bits, or taken from it */
};

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
        uint64_t word;
        memcpy(&word, at + 8 * part, sizeof word);
        const uint64_t others = word ^ octet * UINT64_C(0x0101010101010101);
        const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f), marks = ~(((others & low) + low) | others | low);
        places |= (marks >> 7) * UINT64_C(0x0102040810204080) >> 56 << 8 * part; /* the highest bits, side by side */
    }
#endif
    return places;
}

/* Return the same of as many bytes as are left. */
uint64_t places_in(const uint8_t *at, int64_t left, uint8_t octet) {
    if (left >= 64) {
        return places_of(at, octet);
    }
    uint8_t last[64] = {0};
    memcpy(last, at, (size_t)left);
    return places_of(last, octet) & ((UINT64_C(1) << left) - 1);
}

/* Write where an octet is in [first, stop), and return how often; there must be room for as many places as there are bytes. */
int find_octet(const uint8_t *data, int64_t first, int64_t stop, int octet, int32_t *found) {
    int count = 0;
    for (; first < stop; first += 64) {
        for (uint64_t places = places_in(data + first, stop - first, (uint8_t)octet); places; places &= places - 1) {
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

/* --- printed numbers -------------------------------------------------------------------------------------------------------------- */

#define INFINITE (UINT64_C(0x7ff) << MANTISSA_BITS)

/* A number in decimal digits. */
typedef struct {
    uint8_t digits[4 * WORD]; /* MOST_DIGITS of them, as text, and room to copy as many bytes as the longest have */
    int16_t first;            /* the power of ten that the first digit stands for */
    uint8_t count;            /* of digits, without zeros at the end */
    uint8_t is_negative;
} decimal;

/* Return the upper 64 bits of a product, the last of which is set if anything but an error of rounding is below them. */
static inline uint64_t product_to_odd(unsigned __int128 factor, uint64_t number) {
    const unsigned __int128 low = (unsigned __int128)(uint64_t)factor * number;
    const unsigned __int128 product = (factor >> 64) * number + (low >> 64);
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

/* Return digits that, times ten to `*power`, are a positive, finite double; they may end in zeros. By Giulietti, "The Schubfach way to
   render doubles" (2021). */
static __attribute__((noinline)) uint64_t shortest_of_any(uint64_t bits, const uint64_t *powers, int *power) {
    const uint64_t fraction = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    const int biased = (int)(bits >> MANTISSA_BITS);
    const uint64_t mantissa = biased ? fraction | UINT64_C(1) << MANTISSA_BITS : fraction;
    const int exponent = LEAST_EXPONENT + (biased ? biased - 1 : 0);
    const uint64_t is_odd = mantissa & 1;               /* if not, the numbers half way to the next doubles are read as this one */
    const int is_uneven = fraction == 0 && biased > 1; /* the next smaller double is only half as far away */
    *power = (int)(((int64_t)exponent * LOG10_OF_2 - (is_uneven ? LOG10_OF_4_THIRDS : 0)) >> LOG10_BITS);
    const int shift = exponent + (int)((-(int64_t)*power * LOG2_OF_10) >> LOG2_BITS) + 1;
    const uint64_t *factors = powers + 2 * (-*power - FIRST_POWER);
    unsigned __int128 factor = (unsigned __int128)factors[0] << 64 | factors[1];
    factor += *power < 1 || *power > 27; /* these are rounded down in the table, as reading wants them, and here up */
    /* The number and the edges of what is read as it, in quarters of ten to the power. */
    const uint64_t exact = product_to_odd(factor, 4 * mantissa << shift);
    const uint64_t low = product_to_odd(factor, (4 * mantissa - 2 + (uint64_t)is_uneven) << shift) + is_odd;
    const uint64_t high = product_to_odd(factor, (4 * mantissa + 2) << shift) - is_odd;
    const uint64_t below = exact / 4, tenth = below / 10;
    const int is_tenth_in = low <= 40 * tenth, is_next_in = 40 * tenth + 40 <= high;
    if (tenth && is_tenth_in != is_next_in) {
        return 10 * (tenth + (uint64_t)is_next_in);
    }
    const int is_below_in = low <= 4 * below, is_above_in = 4 * below + 4 <= high, is_above_nearer = (exact & 3) + (below & 1) > 2;
    return below + (uint64_t)(is_below_in == is_above_in ? is_above_nearer : is_above_in);
}

/* Return 16 or 17 digits of a double, which times ten to `*power` are it. Most numbers take one product and no jump, because all
   conditions are as good as random. If one product is too inexact, or the next doubles are not equally far away, all is done as above. */
static inline uint64_t shortest(uint64_t bits, const uint64_t *powers, int *power) {
    const uint64_t fraction = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    const int exponent = LEAST_EXPONENT - 1 + (int)(bits >> MANTISSA_BITS);
    *power = exponent * LOG10_OF_2 >> LOG10_BITS;
    const int shift = exponent + (-*power * LOG2_OF_10 >> LOG2_BITS) + 1; /* from 1 to 4 */
    const uint64_t *factor = powers + 2 * (-*power - FIRST_POWER);
    const uint64_t mantissa = (fraction | UINT64_C(1) << MANTISSA_BITS) << shift;
    /* With 64 bits behind the point. */
    const unsigned __int128 exact = (unsigned __int128)factor[0] * mantissa + ((unsigned __int128)factor[1] * mantissa >> 64);
    const unsigned __int128 half = (unsigned __int128)factor[0] << (shift - 1), low = exact - half, high = exact + half;
    const uint64_t tenth = (uint64_t)(high >> 64) / 10, is_shorter = 10 * tenth > (uint64_t)(low >> 64);
    const uint64_t longer = (uint64_t)(exact >> 64) + ((uint64_t)exact >> 63);
    const uint64_t is_doubtful = ((uint64_t)low + DOUBT < 2 * DOUBT) | ((uint64_t)high + DOUBT < 2 * DOUBT) |
                                 ((uint64_t)exact - (UINT64_C(1) << 63) + DOUBT < 2 * DOUBT) | (fraction == 0);
    if (is_doubtful || bits < UINT64_C(1) << MANTISSA_BITS) {
        return shortest_of_any(bits, powers, power);
    }
    return longer ^ ((longer ^ 10 * tenth) & -is_shorter);
}

/* Return eight digits as bytes from 0 to 9, the first one in the lowest bits. */
static inline uint64_t digits_of(uint64_t number) {
    const uint64_t fours = (number << 32) - (number * 109951163 >> 40) * ((UINT64_C(10000) << 32) - 1);
    const uint64_t twos = (fours << 16) - ((fours * 10486 >> 20) & UINT64_C(0x7f0000007f)) * ((100 << 16) - 1);
    return (twos << 8) - ((twos * 103 >> 10) & UINT64_C(0x000f000f000f000f)) * ((10 << 8) - 1);
}

static inline void put_text(uint8_t *to, uint64_t digits) {
    digits |= UINT64_C(0x3030303030303030);
    memcpy(to, &digits, sizeof digits);
}

/* Find 17 digits of a number, and what else is printed of it. */
static inline uint64_t find_digits(double value, const uint64_t *powers, decimal *to) {
    uint64_t bits, digits = 0;
    memcpy(&bits, &value, sizeof bits);
    to->is_negative = (uint8_t)(bits >> 63);
    bits &= INT64_MAX;
    int power = 1 - MOST_DIGITS;
    if (bits - 1 < INFINITE - 1) {
        digits = shortest(bits, powers, &power);
        while (digits < UINT64_C(1000000000000000)) { /* of a number that is less than normal */
            digits *= 10;
            power--;
        }
        const unsigned is_short = digits < UINT64_C(10000000000000000);
        digits *= 9 * is_short + 1;
        power -= (int)is_short;
    } else if (bits) {
        to->is_negative &= bits == INFINITE;
        power = bits == INFINITE ? IS_INFINITE : IS_NAN;
    }
    to->first = (int16_t)(power + MOST_DIGITS - 1);
    return digits;
}

/* Make text of digits. */
static inline void write_digits(uint64_t digits, decimal *to) {
    const uint64_t upper = digits / 100000000, lead = upper / 100000000;
    const uint64_t middle = digits_of(upper - lead * 100000000), last = digits_of(digits - upper * 100000000);
    to->digits[0] = (uint8_t)('0' + lead);
    put_text(to->digits + 1, middle);
    put_text(to->digits + 1 + WORD, last);
    const unsigned zeros = last ? (unsigned)__builtin_clzll(last) / 8 : WORD + (middle ? (unsigned)__builtin_clzll(middle) / 8 : WORD);
    to->count = (uint8_t)(MOST_DIGITS - zeros);
}

/* Print a number with an exponent, or one that is not finite. */
static __attribute__((noinline)) uint8_t *print_rare(uint8_t *to, const decimal *number, uint8_t point) {
    int power = number->first;
    if (power >= IS_INFINITE) {
        memcpy(to, power == IS_INFINITE + MOST_DIGITS - 1 ? "inf" : "nan", 3);
        return to + 3;
    }
    *to = number->digits[0];
    to[1] = point;
    memcpy(to + 2, number->digits + 1, MOST_DIGITS - 1);
    to += number->count > 1 ? number->count + 1 : 1;
    *to++ = 'e';
    *to++ = power < 0 ? '-' : '+';
    power = power < 0 ? -power : power;
    *to = (uint8_t)('0' + power / 100);
    to += power >= 100;
    *to = (uint8_t)('0' + power / 10 % 10);
    to += power >= 10;
    *to = (uint8_t)('0' + power % 10);
    return to + 1;
}

/* Print a number. More bytes may be written than belong to it. */
static inline uint8_t *print(uint8_t *to, const decimal *number, uint8_t point) {
    const int first = number->first, count = number->count, is_small = first < 0; /* as good as random, so no jump */
    *to = '-';
    to += number->is_negative;
    if (first < FIRST_PLAIN || first > LAST_PLAIN) {
        return print_rare(to, number, point);
    }
    memcpy(to, "00000000", WORD);
    to += (1 - first) & -is_small;
    const int before = 1 + (first & (is_small - 1)); /* digits that are where the first copy brings them */
    memcpy(to, number->digits, 2 * WORD);
    to += !is_small;
    to[first] = point;
    memcpy(to + before, number->digits + before, 2 * WORD);
    return to + (count > first + 2 ? count : first + 2);
}

/* Copy a text that ends before `end`, and return where the copy ends; bytes behind it are written, too. */
static inline uint8_t *copy(uint8_t *to, const uint8_t *from, size_t size, const uint8_t *end) {
    if (size + COPIED > (size_t)(end - from)) {
        memcpy(to, from, size);
    } else {
        for (size_t done = 0; done < size; done += COPIED) {
            memcpy(to + done, from + done, COPIED);
        }
    }
    return to + size;
}

static inline __attribute__((always_inline)) int64_t join(
    const uint8_t *data, int64_t size, int64_t rows, int64_t n_columns, uint8_t delimiter, uint8_t point, const int32_t *offsets,
    const double *values, const uint64_t *powers, uint8_t *joined
) {
    uint8_t *to = joined;
    decimal numbers[TURN];
    uint64_t digits[TURN];
    int64_t left = rows * n_columns, place = TURN;
    for (int64_t row = 0; row < rows; row++) {
        to = copy(to, data + offsets[row], (size_t)(offsets[row + 1] - offsets[row]), data + size);
        for (int64_t column = 0; column < n_columns; column++) {
            if (place == TURN) {
                for (place = 0; place < TURN && place < left; place++) {
                    digits[place] = find_digits(*values++, powers, numbers + place);
                }
                for (int64_t one = 0; one < place; one++) {
                    write_digits(digits[one], numbers + one);
                }
                left -= place;
                place = 0;
            }
            *to++ = delimiter;
            to = print(to, numbers + place++, point);
        }
    }
    return to - joined;
}

/* Write each record, which is [offsets[i], offsets[i + 1]), and after a delimiter each of its predictions; returns how many bytes that is.
   There must be room for all, and for 64 bytes more. */
int64_t join_numbers(
    const uint8_t *data, int64_t size, int64_t rows, int64_t n_columns, int delimiter, int point, const int32_t *offsets,
    const double *values, const uint64_t *powers, uint8_t *joined
) {
    if (delimiter == ',' && point == '.') { /* known when this is compiled: a few percent faster */
        return join(data, size, rows, n_columns, ',', '.', offsets, values, powers, joined);
    }
    return join(data, size, rows, n_columns, (uint8_t)delimiter, (uint8_t)point, offsets, values, powers, joined);
}
