/*
 * clock.h
 *		The hybrid logical clock of this server.
 *
 * See Kulkarni et al., "Logical Physical Clocks", 2014. Here the clock is one number: microseconds
 * since 2000-01-01, which runs ahead of the wall clock where causality requires it.
 *
 * Invariant: a local commit gets a timestamp that is greater than that of every transaction, local
 * or replicated, that was visible here before. shared/commit_stamp.c gives the timestamps to
 * commits.
 */
#ifndef REPLICATION_PLUGIN_CLOCK_H
#define REPLICATION_PLUGIN_CLOCK_H

#include "datatype/timestamp.h"

#include "base/moment.h"
#include "base/shmem.h"

extern const ShmemArea clock_area;

/*
 * Restores the clock to where it was before the server was stopped, unless that has been done.
 * Cheap once it has.
 */
extern void clock_ensure_restored(void);

/*
 * Notes a timestamp from elsewhere that becomes visible here: every timestamp given later is
 * greater.
 */
extern void clock_observe(TimestampTz ts);

/*
 * Returns by how many microseconds the greatest timestamp given or observed is ahead of the time;
 * negative if it is behind.
 */
extern int64 clock_lead(void);

/*
 * Returns a timestamp greater than all that were given or observed: the wall clock's time if that
 * is greater, else the next one.
 */
extern TimestampTz clock_tick(void);

/*
 * Begins a local commit. given: the timestamp that the commit would have, or 0 if PostgreSQL takes
 * the wall clock's time a moment later. Returns 0 if that timestamp will be greater than all that
 * were given or observed and no further ahead of the time than max_clock_skew; else the timestamp
 * to use, as clock_tick() gives it. clock_end_commit() ends the commit with the timestamp that it
 * got (0: it was aborted).
 */
extern TimestampTz clock_begin_commit(TimestampTz given);
extern void clock_end_commit(TimestampTz ts);

/*
 * Returns a horizon: every local commit that is not in the WAL yet will have a greater timestamp.
 */
extern TimestampTz clock_horizon(void);

/*
 * Sets the clock back to a timestamp. Requires that no row here, or on its way here, has a version
 * that this server gave beyond that timestamp. Used on a server that joins anew and has no other
 * database in a group.
 */
extern void clock_set_back(TimestampTz to);

/* What was saved last. Zero at first. */
typedef struct ClockSaved
{
	uint64		seen;
	uint64		xid;
	Moment		at;
} ClockSaved;

/*
 * Saves the clock for the next start of the server, if it has moved and some time has passed.
 * Called by one process only, which keeps what was saved.
 */
extern void clock_save(ClockSaved *saved);

#endif							/* REPLICATION_PLUGIN_CLOCK_H */
