#include "plan/plan.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

static struct plan make(size_t cells, int blocks, uint64_t seed)
{
    struct plan p;
    struct cell *list = calloc(cells, sizeof *list);
    assert_int_equal(plan_make(&p, list, cells, blocks, seed, NULL), 0);
    return p;
}

static void every_round_visits_every_cell_once(void **state)
{
    (void)state;
    struct plan p = make(7, 6, 1);
    assert_int_equal(p.block_count, 42);
    for (int round = 0; round < 6; round++) {
        int seen[7] = {0};
        for (int i = 0; i < 7; i++) {
            struct plan_block *b = &p.blocks[round * 7 + i];
            assert_int_equal(b->number, round + 1);
            seen[b->cell]++;
        }
        for (int i = 0; i < 7; i++)
            assert_int_equal(seen[i], 1);
    }
    plan_release(&p);
}

static void the_seed_decides_the_order(void **state)
{
    (void)state;
    struct plan a = make(8, 4, 1), b = make(8, 4, 1), c = make(8, 4, 2);
    assert_memory_equal(a.blocks, b.blocks, a.block_count * sizeof *a.blocks);
    assert_memory_not_equal(a.blocks, c.blocks, a.block_count * sizeof *a.blocks);
    assert_memory_not_equal(a.blocks, a.blocks + 8, 8 * sizeof *a.blocks); /* rounds differ */
    plan_release(&a);
    plan_release(&b);
    plan_release(&c);
}

static void positions_are_fair(void **state)
{
    (void)state;
    struct plan p = make(4, 400, 3);
    int first[4] = {0};
    for (int round = 0; round < 400; round++)
        first[p.blocks[round * 4].cell]++;
    for (int i = 0; i < 4; i++) /* 100 expected, sd 8.7 */
        assert_in_range(first[i], 65, 135);
    plan_release(&p);
}

static void no_cells_is_an_error(void **state)
{
    (void)state;
    struct plan p;
    struct error e;
    assert_int_equal(plan_make(&p, NULL, 0, 6, 1, &e), ERROR_USAGE);
    plan_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_round_visits_every_cell_once),
        cmocka_unit_test(the_seed_decides_the_order),
        cmocka_unit_test(positions_are_fair),
        cmocka_unit_test(no_cells_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
