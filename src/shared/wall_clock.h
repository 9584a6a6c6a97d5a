/*
 * wall_clock.h
 *		The time, as far as this server's wall clock can be trusted.
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
 * Sets the clock up, once after a start of the server. last: the time when the server last saved
 * its clock; 0 if it is not known.
 */
extern void wall_clock_start(TimestampTz last);

/*
 * Returns the wall clock's time. While the wall clock is in doubt, returns the time by the
 * monotonic clock instead.
 */
extern TimestampTz wall_clock_now(void);

/* Returns the same, and whether the wall clock is in doubt. */
extern TimestampTz wall_clock_read(bool *in_doubt);

/*
 * Returns by how many microseconds the wall clock is ahead of wall_clock_now(): 0 unless it is in
 * doubt.
 */
extern int64 wall_clock_doubt(void);

/*
 * Returns true if the wall clock has been in doubt since the server was started, and has not been
 * compared with other members since.
 */
extern bool wall_clock_doubted_at_start(void);

/*
 * Follows small changes of the wall clock, as time servers make them, and logs a large one. Called
 * repeatedly, by one process only.
 */
extern void wall_clock_follow(void);

/* Takes the wall clock as right, as it is now. */
extern void wall_clock_confirm(void);

/* Takes the wall clock as wrong. base: the difference between the time and moment_now(). */
extern void wall_clock_correct(int64 base);

/*
 * wall_clock_set_agreed() notes the difference between the wall clocks of this server and a member,
 * which is within the limit. wall_clock_agreed() returns the absolute value of the difference noted
 * last, or -1 if there is none.
 */
extern void wall_clock_set_agreed(int64 offset);
extern int64 wall_clock_agreed(void);

/* Returns the limit in microseconds (max_clock_skew); PG_INT64_MAX if there is none. */
extern int64 wall_clock_limit(void);

/*
 * Returns by how many microseconds a timestamp is ahead of the time, if that is beyond the limit;
 * else 0.
 */
extern int64 wall_clock_excess(TimestampTz ts);

/* Returns a time span as text for people, palloc'd: in seconds, minutes, hours or days. */
extern char *wall_clock_span(int64 us);

#endif							/* REPLICATION_PLUGIN_WALL_CLOCK_H */
