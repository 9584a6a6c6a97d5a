/*
 * moment.h
 *		Points in time on the monotonic clock, which passes whatever is done to the wall clock.
 *		The waits of workers are measured by it. Wall clock times are for people and for versions.
 */
#ifndef REPLICATION_PLUGIN_MOMENT_H
#define REPLICATION_PLUGIN_MOMENT_H

#include "portability/instr_time.h"

/* In microseconds; the same in all processes of a server. 0: never. */
typedef int64 Moment;

static inline Moment
moment_now(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_MICROSEC(now);
}

/* Returns the moment this many milliseconds from now. */
static inline Moment
moment_after(int64 ms)
{
	return moment_now() + ms * 1000;
}

/* Returns true if at least this many milliseconds have passed since then, or since is 0. */
static inline bool
moment_is_past(Moment since, int64 ms)
{
	return since == 0 || moment_now() - since >= ms * 1000;
}

/* Returns the milliseconds until then, rounded up; 0 if it is past. */
static inline long
moment_ms_until(Moment then)
{
	Moment		now = moment_now();

	return then > now ? (long) ((then - now + 999) / 1000) : 0;
}

#endif							/* REPLICATION_PLUGIN_MOMENT_H */
