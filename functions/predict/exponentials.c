/* e to the power of each number, by libm's own functions, whose bits LightGBM, XGBoost and SciPy give; NumPy's exp has others. */

#include <math.h>
#include <stdint.h>

/* Put them in the place of `count` numbers, which are float32 or float64. */
void exponentials(void *values, int64_t count, int64_t is_single) {
    for (int64_t place = 0; place < count; place++) {
        if (is_single) {
            ((float *)values)[place] = expf(((float *)values)[place]);
        } else {
            ((double *)values)[place] = exp(((double *)values)[place]);
        }
    }
}
