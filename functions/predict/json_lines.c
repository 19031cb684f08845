/* Reads columns of JSON Lines: numbers into one array by columns, each rounded to the nearest double, and of other columns the values'
   own text. The rest of each line is only checked.

   prediction_handler.py has cut the lines, and json_kernel.py calls this through ctypes. A line that is not a plain object is declined,
   with it whatever is rare: deep nesting, numbers of more than MOST_DIGITS digits. Python's json reads that line. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORD = 8,            /* bytes that are looked at together */
    MOST_DEPTH = 64,     /* of values in values */
    MOST_KEYS = 1 << 12, /* of a line, that are remembered */
    MOST_DIGITS = 19,    /* that 64 bits hold, whatever they are */
    EXACT_POWER = 22,    /* of ten: the largest that is a double */
    FIRST_POWER = -342,  /* the range of powers of ten whose products with 64 bits may be finite and not zero */
    LAST_POWER = 308,
    MOST_EXPONENT = 9999,
    ABSENT = -1,
    HAS_ESCAPES = 1,     /* what is noted of a string */
    HAS_HALF_PAIR = 2,   /* of surrogates: no text in UTF-8 can hold it */
};

uint64_t rounded_number(uint64_t number, int64_t power, const uint64_t *powers); /* numbers.c */

typedef struct {
    const uint8_t *data; /* line i is [lines[i], lines[i + 1]), with white space around it, and ends in a line feed at the latest */
    int64_t size;
    const int32_t *lines;
    int64_t rows;
    const uint8_t *names;        /* of the columns, one after the other, in UTF-8 */
    const int32_t *name_offsets; /* columns + 1 */
    const int32_t *places;       /* for each column: which one of the numbers it is, or -1 - which one of the texts */
    int64_t columns, texts;
    const uint64_t *powers; /* of five, from FIRST_POWER on, two words each: number_kernel.py */
    double *values;         /* (numbers, rows): NaN where none is written */
    uint8_t *is_large;      /* whether a number may be beyond 2^53, from where on doubles do not hold all integers */
    int32_t *offsets;       /* (texts, rows + 1): of the copies */
    uint8_t *copies;        /* there is room for all lines */
    uint8_t *is_present;    /* (texts, rows): 1 for a value, 2 for null, 0 if there is none */
    uint8_t *is_declined;   /* for each line */
} request;

/* A key as an earlier line has it, at the same place. */
typedef struct {
    const uint8_t *octets;
    int32_t size, column;
} known_key;

typedef struct {
    const request *of;
    known_key *keys;
    int64_t n_keys;
    int32_t *table; /* columns by the hash of their names; ABSENT in free places */
    uint32_t mask;
    int64_t *seen;   /* for each column, the last line that has it */
    uint8_t *key;    /* room for a key without its escapes */
    int32_t *values; /* (texts, rows, 2): where the values of the texts start and stop */
} reader;

static const double exact_powers[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                     1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline int is_digit(uint8_t octet) { return (uint8_t)(octet - '0') <= 9; }
static inline const uint8_t *skip_space(const uint8_t *at) {
    for (; *at == ' ' || *at == '\t' || *at == '\r'; at++) {}
    return at;
}

/* Return the four hexadecimal digits here as a number; less than 0 if they are none. */
static int32_t hexadecimal(const uint8_t *at) {
    int32_t number = 0;
    for (int digit = 0; digit < 4; digit++) {
        const uint8_t lower = at[digit] | 0x20;
        if (!is_digit(at[digit]) && (lower < 'a' || lower > 'f')) {
            return -1;
        }
        number = number << 4 | (is_digit(at[digit]) ? at[digit] - '0' : lower - 'a' + 10);
    }
    return number;
}

/* Return the end of an escape that begins here, or NULL if it is none. */
static const uint8_t *end_of_escape(const uint8_t *at, int *noted) {
    *noted |= HAS_ESCAPES;
    if (at[1] != 'u') {
        return at[1] && strchr("\"\\/bfnrt", at[1]) ? at + 2 : NULL;
    }
    const int32_t code = hexadecimal(at + 2);
    if (code >> 10 == 0xd800 >> 10 && at[6] == '\\' && at[7] == 'u' && hexadecimal(at + 8) >> 10 == 0xdc00 >> 10) {
        return at + 12;
    }
    *noted |= code >> 11 == 0xd800 >> 11 ? HAS_HALF_PAIR : 0;
    return code < 0 ? NULL : at + 6;
}

/* Return the closing quote of a string that begins here, behind its quote; NULL if it is none. */
static inline const uint8_t *end_of_string(const uint8_t *at, const uint8_t *stop, int *noted) {
    while (at && *at != '"') {
        for (; stop - at >= WORD; at += WORD) {
            uint64_t word;
            memcpy(&word, at, sizeof word);
            const uint64_t ones = UINT64_C(0x0101010101010101), quotes = word ^ '"' * ones, strokes = word ^ '\\' * ones;
            uint64_t marks = ((quotes - ones) & ~quotes) | ((strokes - ones) & ~strokes) | ((word - 0x20 * ones) & ~word);
            marks &= 0x80 * ones;
            if (marks) { /* the lowest mark is right, and those above it may be too many */
                at += __builtin_ctzll(marks) / 8;
                break;
            }
        }
        if (*at == '\\') {
            at = end_of_escape(at, noted);
        } else if (*at != '"') {
            at = *at < 0x20 ? NULL : at + 1;
        }
    }
    return at;
}

/* Read a number; returns its end, or NULL if it is none. It is NaN if it is infinite, or has too many digits. */
static inline const uint8_t *read_number(const uint8_t *at, const uint64_t *powers, double *value) {
    const int is_negative = *at == '-';
    at += is_negative;
    const uint8_t *first = at;
    uint64_t number = 0, bits;
    for (; is_digit(*at) && (number || at == first || *first != '0'); at++) { /* nothing follows a zero */
        number = number * 10 + *at - '0';
    }
    int64_t digits = at - first, power = 0;
    if (digits && *at == '.') {
        const uint8_t *point = ++at;
        for (; is_digit(*at); at++) {
            number = number * 10 + *at - '0';
        }
        power = point - at;
        digits = power ? digits - power : 0;
    }
    if (digits && (*at | 0x20) == 'e') {
        const int is_small = *++at == '-';
        at += is_small || *at == '+';
        const uint8_t *figures = at;
        int64_t exponent = 0;
        for (; is_digit(*at); at++) {
            exponent = exponent < MOST_EXPONENT ? exponent * 10 + *at - '0' : exponent;
        }
        power += is_small ? -exponent : exponent;
        digits = at > figures ? digits : 0;
    }
    for (; digits > MOST_DIGITS && (*first == '0' || *first == '.'); first++) { /* perhaps because of zeros before the others */
        digits -= *first == '0';
    }
    if (number < UINT64_C(1) << 53 && power <= 0 && power >= -EXACT_POWER) {
        *value = (double)(int64_t)number / exact_powers[-power];
    } else if (number == 0 || power < FIRST_POWER) {
        *value = 0;
    } else {
        bits = power > LAST_POWER ? UINT64_C(0x7ff) << 52 : rounded_number(number, power, powers);
        memcpy(value, &bits, sizeof bits);
    }
    memcpy(&bits, value, sizeof bits); /* signs are as good as random, so no jump */
    bits ^= (uint64_t)is_negative << 63;
    memcpy(value, &bits, sizeof bits);
    if (digits > MOST_DIGITS || !isfinite(*value)) {
        *value = NAN;
    }
    return digits ? at : NULL;
}

/* Return the end of a word that begins here, of which the first octet has been seen; NULL if another word does. A line feed ends a line
   at the latest, so no octet behind it is looked at. */
static const uint8_t *end_of_word(const uint8_t *at, const char *word) {
    for (; *word; word++, at++) {
        if (*at != (uint8_t)*word) {
            return NULL;
        }
    }
    return at;
}

/* Return the end of a value that begins here; NULL if there is none, or not here. */
static const uint8_t *end_of_value(const uint8_t *at, const uint8_t *stop, const uint64_t *powers, int depth, int *noted) {
    double number;
    switch (*at) {
    case '"':
        at = end_of_string(at + 1, stop, noted);
        return at ? at + 1 : NULL;
    case 't':
        return end_of_word(at, "true");
    case 'f':
        return end_of_word(at, "false");
    case 'n':
        return end_of_word(at, "null");
    case 'N':
        return end_of_word(at, "NaN");
    case '{':
    case '[':
        break;
    default:
        return read_number(at, powers, &number);
    }
    const int is_object = *at == '{';
    const uint8_t last = is_object ? '}' : ']';
    at = skip_space(at + 1);
    if (*at == last || depth == MOST_DEPTH) {
        return *at == last ? at + 1 : NULL;
    }
    for (;; at = skip_space(at + 1)) {
        if (is_object) {
            at = *at == '"' ? end_of_string(at + 1, stop, noted) : NULL;
            at = at ? skip_space(at + 1) : NULL;
            if (at == NULL || *at != ':') {
                return NULL;
            }
            at = skip_space(at + 1);
        }
        at = end_of_value(at, stop, powers, depth + 1, noted);
        at = at ? skip_space(at) : NULL;
        if (at == NULL || *at != ',') {
            return at && *at == last ? at + 1 : NULL;
        }
    }
}

/* By Fowler, Noll and Vo. */
static uint32_t hash_of(const uint8_t *octets, int64_t size) {
    uint32_t hash = UINT32_C(2166136261);
    for (int64_t place = 0; place < size; place++) {
        hash = (hash ^ octets[place]) * UINT32_C(16777619);
    }
    return hash;
}

/* Return the place in the table of a column's name, or a free one. */
static uint32_t place_of(const reader *by, const uint8_t *octets, int64_t size) {
    uint32_t place = hash_of(octets, size) & by->mask;
    for (; by->table[place] != ABSENT; place = (place + 1) & by->mask) {
        const int32_t *name = by->of->name_offsets + by->table[place];
        if (name[1] - name[0] == size && memcmp(by->of->names + name[0], octets, (size_t)size) == 0) {
            break;
        }
    }
    return place;
}

/* Write a checked key without its escapes, in UTF-8; returns its size, or less than 0 if it is longer than `most`. */
static int64_t unescaped(const uint8_t *at, const uint8_t *end, uint8_t *to, int64_t most) {
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const uint8_t *first = to;
    while (at < end && to - first <= most) {
        if (*at != '\\') {
            *to++ = *at++;
        } else if (at[1] != 'u') {
            const char *letter = strchr(letters, at[1]);
            *to++ = letter ? (uint8_t)meant[letter - letters] : at[1];
            at += 2;
        } else {
            uint32_t code = (uint32_t)hexadecimal(at + 2);
            at += 6;
            if (code >> 10 == 0xd800 >> 10) {
                code = 0x10000 + ((code & 0x3ff) << 10 | ((uint32_t)hexadecimal(at + 2) & 0x3ff));
                at += 6;
            }
            const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3; /* bytes behind the first */
            *to++ = (uint8_t)(more ? (0xff00 >> (more + 1) & 0xff) | code >> 6 * more : code);
            for (int byte = more - 1; byte >= 0; byte--) {
                *to++ = (uint8_t)(0x80 | (code >> 6 * byte & 0x3f));
            }
        }
    }
    return to - first > most ? -1 : to - first;
}

/* Find the column of the key number `number` of a line, which begins here, behind its quote; returns its closing quote, or NULL. */
static inline const uint8_t *read_key(reader *by, int64_t number, const uint8_t *at, const uint8_t *stop, int32_t *column) {
    known_key *known = by->keys + number;
    if (number < by->n_keys && stop - at > known->size && memcmp(known->octets, at, (size_t)known->size + 1) == 0) {
        *column = known->column; /* usually: lines have the same keys in the same order */
        return at + known->size;
    }
    int noted = 0;
    const uint8_t *end = end_of_string(at, stop, &noted);
    if (end == NULL || noted & HAS_HALF_PAIR) {
        return NULL;
    }
    const int64_t size = noted ? unescaped(at, end, by->key, by->of->name_offsets[by->of->columns]) : end - at;
    *column = size < 0 ? ABSENT : by->table[place_of(by, noted ? by->key : at, size)];
    if (number < MOST_KEYS && number <= by->n_keys) {
        *known = (known_key){at, (int32_t)(end - at), *column};
        by->n_keys += number == by->n_keys;
    }
    return end;
}

/* Read the value of a column; returns its end, or NULL if it is not one of those that are read here. */
static inline const uint8_t *read_value(reader *by, const uint8_t *at, const uint8_t *stop, int64_t row, int32_t column) {
    const request *of = by->of;
    const int32_t place = of->places[column];
    if (by->seen[column] == row) {
        return NULL; /* twice */
    }
    by->seen[column] = row;
    if (place >= 0 && (*at == '-' || is_digit(*at))) {
        double *to = of->values + place * of->rows + row;
        at = read_number(at, of->powers, to);
        of->is_large[place] |= fabs(*to) >= 9007199254740992.0;
        return isnan(*to) ? NULL : at;
    }
    if (place >= 0 && *at != 'n' && *at != 'N') {
        of->values[place * of->rows + row] = *at == 't';
        return *at == 't' || *at == 'f' ? end_of_value(at, stop, NULL, 0, NULL) : NULL;
    }
    int noted = 0;
    const uint8_t *end = *at == '{' || *at == '[' ? NULL : end_of_value(at, stop, of->powers, 0, &noted);
    if (place < 0 && end) {
        int32_t *value = by->values + 2 * ((ABSENT - place) * of->rows + row);
        value[0] = (int32_t)(at - of->data);
        value[1] = *at == 'n' || *at == 'N' ? value[0] : (int32_t)(end - of->data);
    }
    return noted & HAS_HALF_PAIR ? NULL : end;
}

/* Read a line; returns whether it is a plain object. */
static int read_line(reader *by, int64_t row) {
    const request *of = by->of;
    const uint8_t *at = of->data + of->lines[row], *stop = of->data + of->lines[row + 1];
    while (*at == '\n' || at != skip_space(at)) { /* what is in the line is not only white space */
        at = skip_space(at) + (*at == '\n');
    }
    if (*at++ != '{') {
        return 0;
    }
    at = skip_space(at);
    for (int64_t number = 0; *at != '}' || number; number++) {
        int noted = 0;
        int32_t column;
        at = *at == '"' ? read_key(by, number, at + 1, stop, &column) : NULL;
        at = at ? skip_space(at + 1) : NULL;
        if (at == NULL || *at != ':') {
            return 0;
        }
        at = skip_space(at + 1);
        at = column == ABSENT ? end_of_value(at, stop, of->powers, 0, &noted) : read_value(by, at, stop, row, column);
        at = at ? skip_space(at) : NULL;
        if (at == NULL || *at != ',') {
            if (at && *at == '}') {
                break;
            }
            return 0;
        }
        at = skip_space(at + 1);
    }
    return *skip_space(at + 1) == '\n';
}

/* Copy the values of the texts, column by column. */
static void copy_texts(const reader *by) {
    const request *of = by->of;
    uint8_t *to = of->copies;
    for (int64_t text = 0; text < of->texts; text++) {
        int32_t *offsets = of->offsets + text * (of->rows + 1);
        const int32_t *value = by->values + 2 * text * of->rows;
        for (int64_t row = 0; row < of->rows; row++, value += 2) {
            const size_t size = of->is_declined[row] ? 0 : (size_t)(value[1] - value[0]);
            offsets[row] = (int32_t)(to - of->copies);
            of->is_present[text * of->rows + row] = of->is_declined[row] || value[0] == 0 ? 0 : size > 0 ? 1 : 2;
            memcpy(to, of->data + value[0], size);
            to += size;
        }
        offsets[of->rows] = (int32_t)(to - of->copies);
    }
}

/* Read all lines; returns 0 if memory is lacking. */
int read_json_lines(const request *of) {
    uint32_t places = 4;
    for (; places < 2 * of->columns; places *= 2) {}
    reader by = {of, calloc(MOST_KEYS, sizeof(known_key)), 0, malloc(places * sizeof(int32_t)), places - 1,
                 malloc((size_t)(of->columns + 1) * sizeof(int64_t)), malloc((size_t)of->name_offsets[of->columns] + WORD), calloc((size_t)(of->texts * of->rows + 1), 2 * sizeof(int32_t))};
    const int has_memory = by.keys && by.table && by.seen && by.key && by.values;
    if (has_memory) {
        memset(by.table, 0xff, places * sizeof(int32_t)); /* ABSENT */
        memset(by.seen, 0xff, (size_t)(of->columns + 1) * sizeof(int64_t));
        for (int32_t column = 0; column < of->columns; column++) {
            const int32_t *name = of->name_offsets + column;
            by.table[place_of(&by, of->names + name[0], name[1] - name[0])] = column;
        }
        for (int64_t row = 0; row < of->rows; row++) {
            of->is_declined[row] = (uint8_t)!read_line(&by, row);
        }
        copy_texts(&by);
    }
    free(by.keys);
    free(by.table);
    free(by.seen);
    free(by.key);
    free(by.values);
    return has_memory;
}
