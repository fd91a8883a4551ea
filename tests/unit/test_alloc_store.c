/* Each allocation of the store's own failing in turn: an error, no crash, no leak. */
#include "store_samples.h"
#include "failing_alloc.h"

static int use_store(struct store_campaign *c, const struct record *r, struct store_campaign *out)
{
    struct store *s = NULL;
    *out = (struct store_campaign){0};
    int result = store_open(sample_path, &s, &err);
    if (!result)
        result = store_begin(s, c, &err);
    if (!result)
        result = store_put_block(s, c->id, 0, r, &err);
    if (!result)
        result = store_load(s, c->id, out, &err);
    store_close(s);
    return result;
}

static void every_allocation_may_fail(void **context)
{
    (void)context;
    struct store_campaign c, out;
    struct record r;
    sample_campaign(&c);
    sample_record(&r, 1, 1000, 3);
    int result = 1;
    long n = 0;
    for (; result && n < 1000; n++) {
        err = (struct error){0};
        until_failure = n;
        result = use_store(&c, &r, &out);
        until_failure = -1;
        assert_true(result == 0 || (result == ERROR_MEMORY && err.code == ERROR_MEMORY));
        if (result)
            assert_null(out.cells);
    }
    assert_true(n > 8); /* it did fail often before it worked */
    assert_int_equal(out.cells[0].block_count, 1);
    same_record(&r, &out.cells[0].blocks[0]);
    store_campaign_release(&out);
    store_campaign_release(&c);
    record_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_allocation_may_fail, sample_setup, sample_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
