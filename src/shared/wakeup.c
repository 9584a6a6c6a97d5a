/*
 * wakeup.c
 *		Wakes sessions that wait until something has happened on this server.
 *
 * There is one condition variable for each kind of event, for all databases. Sessions that are
 * woken for nothing look at shared memory and sleep again.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"

#include "base/moment.h"
#include "shared/areas.h"
#include "shared/wakeup.h"

typedef struct SharedWakeups
{
	pg_atomic_uint64 group_events;
	ConditionVariable cv[WAKEUPS];
} SharedWakeups;

/* Returns the area; NULL if this server has no shared memory. */
static inline SharedWakeups *
shared(void)
{
	return shmem_address(AREA_WAKEUP);
}

static Size
area_size(void)
{
	return sizeof(SharedWakeups);
}

static void
area_init(void *address)
{
	SharedWakeups *area = address;

	pg_atomic_init_u64(&area->group_events, 0);
	for (int i = 0; i < WAKEUPS; i++)
		ConditionVariableInit(&area->cv[i]);
}

const ShmemArea wakeup_area = {
	.name = "replication_plugin wakeups",
	.size = area_size,
	.init = area_init,
};

void
wakeup_send(Wakeup event)
{
	SharedWakeups *area = shared();

	if (!area)
		return;
	if (event == WAKEUP_GROUP)
	{
		pg_atomic_fetch_add_u64(&area->group_events, 1);
		ConditionVariableBroadcast(&area->cv[WAKEUP_CONFIRMED]);
	}
	ConditionVariableBroadcast(&area->cv[event]);
}

void
wakeup_sleep(Wakeup event, long ms)
{
	Assert(ms >= 0);
	ms = Min(ms, WAKEUP_LONGEST_MS);
	if (!shared())
		wakeup_pause(ms);		/* nobody can send anything */
	else
		(void) ConditionVariableTimedSleep(&shared()->cv[event], ms, PG_WAIT_EXTENSION);
}

bool
wakeup_sleep_until(Wakeup event, Moment deadline)
{
	long		left = moment_ms_until(deadline);

	if (left == 0)
		return false;
	wakeup_sleep(event, left);
	return true;
}

void
wakeup_done(void)
{
	ConditionVariableCancelSleep();
}

void
wakeup_pause(long ms)
{
	Moment		end = moment_after(ms);

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		ms = moment_ms_until(end);
		if (ms == 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

uint64
wakeup_group_events(void)
{
	return shared() ? pg_atomic_read_u64(&shared()->group_events) : 0;
}
