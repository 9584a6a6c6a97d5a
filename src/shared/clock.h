/*
 * clock.h
 *		The hybrid logical clock of this server (Kulkarni et al., "Logical Physical Clocks", 2014;
 *		here in one
 *		number: microseconds since 2000-01-01, which runs ahead of the wall clock where causality
 *		asks for it).
 *
 * Invariant: a local commit gets a timestamp that is greater than that of every transaction that
 * was visible here before, local or replicated. What gives and raises them is
 * shared/commit_stamp.c.
 */
#ifndef REPLICATION_PLUGIN_CLOCK_H
#define REPLICATION_PLUGIN_CLOCK_H

#include "datatype/timestamp.h"

#include "base/shmem.h"

extern const ShmemArea clock_area;

/*
 * Brings the clock to where it was before the server was stopped, if nobody has done it yet. Cheap.
 */
extern void clock_ensure_restored(void);

/*
 * A timestamp that comes from elsewhere becomes visible here: nothing that is given later is at or
 * below it.
 */
extern void clock_observe(TimestampTz ts);

/* By how much all that was given or observed is ahead of the time; negative if it is behind. */
extern int64 clock_lead(void);

/* A timestamp greater than all that were given or observed; the wall clock's where that is one. */
extern TimestampTz clock_tick(void);

/*
 * A local commit begins, with a given timestamp, or with the wall clock's of a moment later (0).
 * Returns 0 if that will be greater than all that were given or observed, and is no further ahead
 * of the time than max_clock_skew, else what clock_tick() gives. It ends with the timestamp that it
 * got (0: it was aborted).
 */
extern TimestampTz clock_begin_commit(TimestampTz given);
extern void clock_end_commit(TimestampTz ts);

/* Every local commit that is not in the WAL by now will have a greater timestamp than this. */
extern TimestampTz clock_horizon(void);

/*
 * Sets the clock back: nothing that is here, or comes here, has a version of what it gave beyond
 * that. For a server that joins anew, with no other database in a group.
 */
extern void clock_set_back(TimestampTz to);

/*
 * Keeps the clock for the next start of the server, if it has moved and some time has passed.
 * Called by one process only.
 */
extern void clock_save(void);

#endif							/* REPLICATION_PLUGIN_CLOCK_H */
