/* Copies some of the fields of CSV records, each as it stands there: for an output of some of the input's columns.

   prediction_handler.py has cut the records and checked their quotes, and field_kernel.py calls this through ctypes. */

#include <stdint.h>
#include <string.h>

enum { LOOK = 64 }; /* bytes that are looked at together */

uint64_t places_in(const uint8_t *at, int64_t left, uint8_t octet); /* records.c */

typedef struct {
    const uint8_t *data; /* record i is [offsets[i] + line_end, offsets[i + 1]); a line end stands before it */
    const int32_t *offsets;
    int64_t rows, line_end;
    const int64_t *runs; /* of neighbouring fields that are copied: for each the first, and the one behind the last */
    int64_t n_runs, fields;
    int32_t delimiter;
    uint8_t *selected; /* there is room for all records */
    int32_t *places;   /* where each record stands in it, with its line end, and where the last one stops */
} selection;

/* The delimiters that are still to come. */
typedef struct {
    const uint8_t *data;
    int64_t at, size; /* of the bytes of which `delimiters` are, and where the data stop */
    uint64_t delimiters;
    uint64_t inside; /* all bits if the next bytes begin in quotes, else none */
    uint8_t delimiter;
} search;

/* Find the delimiters outside quotes in the bytes from `at` on. */
static void look(search *in) {
    const uint8_t *at = in->data + in->at;
    const int64_t left = in->size - in->at;
    in->delimiters = places_in(at, left, in->delimiter);
    uint64_t quoted = places_in(at, left, '"');
    if (quoted | in->inside) {
        for (int shift = 1; shift < LOOK; shift *= 2) {
            quoted ^= quoted << shift; /* which bytes have an odd number of quotes up to them */
        }
        quoted ^= in->inside;
        in->inside = quoted >> (LOOK - 1) ? UINT64_MAX : 0;
        in->delimiters &= ~quoted;
    }
}

/* Skip so many delimiters and find the next one, behind which the search goes on; returns `stop` if there is none before it. */
static int64_t find(search *in, int64_t skipped, int64_t stop) {
    for (;;) {
        const int64_t count = __builtin_popcountll(in->delimiters);
        if (skipped < count) {
            break;
        }
        if (in->at + LOOK >= stop) {
            return stop;
        }
        skipped -= count;
        in->at += LOOK;
        look(in);
    }
    for (; skipped; skipped--) {
        in->delimiters &= in->delimiters - 1;
    }
    const int64_t place = in->at + __builtin_ctzll(in->delimiters);
    if (place >= stop) {
        return stop;
    }
    in->delimiters &= in->delimiters - 1;
    return place;
}

/* Copy each record's line end and its fields that are wanted. Returns how many bytes that is; less than none if a record has too few
   or too many fields. */
int64_t select_fields(const selection *of) {
    const int64_t first = of->offsets[0], size = of->offsets[of->rows];
    search in = {of->data, first, size, 0, 0, (uint8_t)of->delimiter};
    uint8_t *to = of->selected;
    look(&in);
    for (int64_t row = 0; row < of->rows; row++) {
        const int64_t start = of->offsets[row] + of->line_end, stop = of->offsets[row + 1];
        int64_t passed = 0; /* delimiters */
        of->places[row] = (int32_t)(to - of->selected);
        memcpy(to, of->data + start - of->line_end, (size_t)of->line_end);
        to += of->line_end;
        for (int64_t run = 0; run < of->n_runs; run++) {
            const int64_t field = of->runs[2 * run], behind = of->runs[2 * run + 1];
            int64_t from = start, until = stop;
            if (field) {
                from = find(&in, field - 1 - passed, stop);
                passed = field;
            }
            if (field && from == stop) {
                return -1;
            }
            if (behind < of->fields) {
                until = find(&in, behind - 1 - passed, stop);
                passed = behind;
            }
            if (behind < of->fields && until == stop) {
                return -1;
            }
            from += field && run == 0; /* the other runs bring the delimiter before them along */
            memcpy(to, of->data + from, (size_t)(until - from));
            to += until - from;
        }
        const int64_t left = of->fields - 1 - passed;
        if ((left && find(&in, left - 1, stop) == stop) || find(&in, 0, stop) != stop) {
            return -1;
        }
    }
    of->places[of->rows] = (int32_t)(to - of->selected);
    return to - of->selected;
}
