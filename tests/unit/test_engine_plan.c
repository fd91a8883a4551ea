/* Laying slots into one block: nothing alive at the same time overlaps, and little is wasted. */
#include "engine/program.h"

#include "test.h"

#include <stdlib.h>
#include <string.h>

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static int first_of(const struct slot *s)
{
    return s->from_start ? 0 : s->first;
}

static int last_of(const struct slot *s, int steps)
{
    return s->to_end ? steps : s->last;
}

static void assert_apart(const struct slot *slots, int count, int steps, size_t total)
{
    for (int i = 0; i < count; i++) {
        const struct slot *a = &slots[i];
        if (a->fixed || (a->first < 0 && !a->from_start))
            continue;
        assert_int_equal(a->offset % 64, 0);
        assert_true(a->offset + a->bytes <= total);
        for (int k = 0; k < i; k++) {
            const struct slot *b = &slots[k];
            int meet = first_of(a) <= last_of(b, steps) && first_of(b) <= last_of(a, steps);
            int touch = a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            if (!b->fixed && (b->first >= 0 || b->from_start) && meet && touch)
                fail_msg("slots %d and %d are alive together at %zu and %zu", i, k, a->offset,
                         b->offset);
        }
    }
}

/* No plan can need less than what is alive at one step. */
static size_t most_alive(const struct slot *slots, int count, int steps)
{
    size_t most = 0;
    for (int t = 0; t < steps; t++) {
        size_t alive = 0;
        for (int i = 0; i < count; i++)
            if (!slots[i].fixed && (slots[i].first >= 0 || slots[i].from_start) &&
                first_of(&slots[i]) <= t && t <= last_of(&slots[i], steps))
                alive += (slots[i].bytes + 63) / 64 * 64;
        most = alive > most ? alive : most;
    }
    return most;
}

static void test_random_lives(void **state)
{
    (void)state;
    enum { SLOTS = 120, STEPS = 80 };
    uint32_t random = 7;
    for (int round = 0; round < 50; round++) {
        struct slot slots[SLOTS];
        memset(slots, 0, sizeof slots);
        for (int i = 0; i < SLOTS; i++) {
            slots[i].bytes = next_random(&random) % 5 ? next_random(&random) % 100000 : 0;
            slots[i].first = (int)(next_random(&random) % STEPS);
            slots[i].last = slots[i].first + (int)(next_random(&random) % 6);
            slots[i].from_start = next_random(&random) % 40 == 0;
            slots[i].to_end = slots[i].from_start || next_random(&random) % 40 == 0;
            if (next_random(&random) % 20 == 0)
                slots[i].fixed = slots;
            if (next_random(&random) % 30 == 0)
                slots[i].first = slots[i].last = -1;
        }
        size_t total = plan_offsets(slots, SLOTS);
        size_t least = most_alive(slots, SLOTS, STEPS + 6);
        assert_apart(slots, SLOTS, STEPS + 6, total);
        assert_true(total >= least);
        assert_true(total <= least + least / 2);
    }
}

/* A chain needs its two neighbouring values at a time, whatever its length. */
static void test_chain_reuses(void **state)
{
    (void)state;
    enum { LENGTH = 50 };
    struct slot slots[LENGTH];
    memset(slots, 0, sizeof slots);
    for (int i = 0; i < LENGTH; i++)
        slots[i] = (struct slot){.bytes = 1000, .first = i, .last = i + 1};
    assert_int_equal(plan_offsets(slots, LENGTH), 2 * 1024);
}

static void test_nothing(void **state)
{
    (void)state;
    struct slot unused = {.bytes = 100, .first = -1, .last = -1};
    assert_int_equal(plan_offsets(NULL, 0), 0);
    assert_int_equal(plan_offsets(&unused, 1), 0);
}

static int add_one(struct step *s, struct error *e)
{
    (void)e;
    *(int *)s->data[1] = *(const int *)s->data[0] + 1;
    return 0;
}

/* Steps find their slots, also after an input was moved and moved back. */
static void test_program(void **state)
{
    (void)state;
    struct program p;
    struct error e;
    int elsewhere[16] = {41};
    program_init(&p, 1 << 30);
    int in = program_slot(&p, sizeof(int)), middle = program_slot(&p, sizeof(int));
    int out = program_slot(&p, sizeof(int));
    p.slots[in].from_start = p.slots[in].to_end = p.slots[out].to_end = 1;
    for (int i = 0; i < 2; i++) {
        struct step *s = program_step(&p);
        assert_non_null(s);
        s->run = add_one;
        s->slots[0] = i ? middle : in;
        s->slots[1] = i ? out : middle;
    }
    assert_int_equal(program_plan(&p, 1 << 30, &e), 0);
    *(int *)program_address(&p, in) = 5;
    assert_int_equal(program_run(&p, &e), 0);
    assert_int_equal(*(int *)program_address(&p, out), 7);
    program_move(&p, in, elsewhere);
    assert_int_equal(program_run(&p, &e), 0);
    assert_int_equal(*(int *)program_address(&p, out), 43);
    program_move(&p, in, NULL);
    assert_int_equal(program_run(&p, &e), 0);
    assert_int_equal(*(int *)program_address(&p, out), 7);
    program_release(&p);
}

static void test_limit(void **state)
{
    (void)state;
    struct program p;
    struct error e;
    program_init(&p, 1000);
    int slot = program_slot(&p, 2000);
    struct step *s = program_step(&p);
    s->run = add_one;
    s->slots[0] = slot;
    assert_int_equal(program_plan(&p, 1000, &e), ERROR_MEMORY);
    assert_non_null(strstr(e.text, "2048"));
    program_release(&p);
}

static void test_pool(void **state)
{
    (void)state;
    struct memory_pool pool = {.limit = 40 << 20};
    char *a = memory_pool_take(&pool, 100), *b = memory_pool_take(&pool, 30 << 20);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    memset(b, 1, 30 << 20);
    assert_int_equal(a[0], 0);
    assert_null(memory_pool_take(&pool, 20 << 20));
    assert_null(memory_pool_take(&pool, SIZE_MAX));
    memory_pool_release(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_lives), cmocka_unit_test(test_chain_reuses),
        cmocka_unit_test(test_nothing),      cmocka_unit_test(test_program),
        cmocka_unit_test(test_limit),        cmocka_unit_test(test_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
