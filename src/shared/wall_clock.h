/*
 * wall_clock.h
 *		What time it is, as far as this server's wall clock can be trusted.
 *
 * Invariant: a wall clock that jumps by more than max_clock_skew, or is that far from where it was
 * when the server was stopped, gives no commit a timestamp before it has been compared with those
 * of other members.
 */
#ifndef REPLICATION_PLUGIN_WALL_CLOCK_H
#define REPLICATION_PLUGIN_WALL_CLOCK_H

#include "datatype/timestamp.h"

#include "base/moment.h"
#include "base/shmem.h"

extern const ShmemArea wall_clock_area;

/*
 * Once after a start of the server: what time it was when the clock was last known to be right; 0:
 * not known.
 */
extern void wall_clock_start(TimestampTz last);

/* The wall clock's time; while that is in doubt, the time that has passed since it was not. */
extern TimestampTz wall_clock_now(void);

/* The same, and whether the wall clock is in doubt. */
extern TimestampTz wall_clock_read(bool *in_doubt);

/*
 * Returns by how much, in microseconds, the wall clock is ahead of wall_clock_now(): 0 unless it is
 * in doubt.
 */
extern int64 wall_clock_doubt(void);

/*
 * Returns true if the wall clock is in doubt since the server was started, and has not been
 * compared since.
 */
extern bool wall_clock_doubted_at_start(void);

/*
 * Takes up small changes of the wall clock, as time servers make them; tells of a large one. Called
 * by one process, again and again.
 */
extern void wall_clock_follow(void);

/* The wall clock is right as it is now. */
extern void wall_clock_confirm(void);

/* The wall clock is wrong: this is what to add to moment_now() for the time. */
extern void wall_clock_correct(int64 base);

/*
 * The wall clock and a member's differ by so much, which is within the limit; returns what the
 * difference was then, or -1.
 */
extern void wall_clock_set_agreed(int64 offset);
extern int64 wall_clock_agreed(void);

/* The limit in microseconds (max_clock_skew); PG_INT64_MAX: there is none. */
extern int64 wall_clock_limit(void);

/* Returns by how much a timestamp is ahead of the time, if that is beyond the limit; else 0. */
extern int64 wall_clock_excess(TimestampTz ts);

/* A time span for people, palloc'd: in seconds, minutes, hours or days. */
extern char *wall_clock_span(int64 us);

#endif							/* REPLICATION_PLUGIN_WALL_CLOCK_H */
