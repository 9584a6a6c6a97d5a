/*
 * wall_clock.c
 *		The time, as far as this server's wall clock can be trusted.
 *
 * The monotonic clock cannot be set. The difference between the wall clock and the monotonic clock
 * ("base") changes slowly in regular operation, and wall_clock_follow() keeps base up to date. If
 * the wall clock differs by more than max_clock_skew from the monotonic clock plus base, it has
 * jumped. Time then goes on by the monotonic clock, until a comparison with other members
 * (control/group/clock_guard.c) shows which of the two is right. So commits made meanwhile have
 * timestamps that other members accept, whatever the wall clock says, and the wall clock can be
 * corrected without harm.
 *
 * After a start of the server, base is computed from the time that shared/clock.c has saved, if the
 * wall clock is far from that.
 */
#include "postgres.h"

#include "port/atomics.h"
#include "utils/timestamp.h"

#include "base/settings.h"
#include "base/shmem.h"
#include "shared/areas.h"
#include "shared/wall_clock.h"

#define MINUTE	(INT64CONST(60) * USECS_PER_SEC)

typedef struct WallClock
{
	pg_atomic_uint64 base;		/* wall clock minus monotonic clock, as int64; 0: not known yet */
	/* 1 + the difference at the last agreement with a member; 0: none so far */
	pg_atomic_uint64 agreed;
	pg_atomic_uint32 at_start;	/* in doubt since the start of the server */
	pg_atomic_uint32 told;		/* the doubt has been logged */
} WallClock;

/* Returns the area; NULL if this server has no shared memory. */
static inline WallClock *
shared(void)
{
	return shmem_address(AREA_WALL_CLOCK);
}

static Size
area_size(void)
{
	return sizeof(WallClock);
}

static void
area_init(void *address)
{
	WallClock  *area = address;

	pg_atomic_init_u64(&area->base, 0);
	pg_atomic_init_u64(&area->agreed, 0);
	pg_atomic_init_u32(&area->at_start, 0);
	pg_atomic_init_u32(&area->told, 0);
}

const ShmemArea wall_clock_area = {
	.name = "replication_plugin wall clock",
	.size = area_size,
	.init = area_init,
};

int64
wall_clock_limit(void)
{
	return setting_max_clock_skew < 0 ? PG_INT64_MAX : setting_max_clock_skew * USECS_PER_SEC;
}

/* Returns true if a span, in either direction, is beyond the limit. */
static bool
is_beyond(int64 span)
{
	int64		limit = wall_clock_limit();

	return span > limit || span < -limit;
}

void
wall_clock_start(TimestampTz last)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		doubt = last > 0 && is_beyond(now - last);

	if (pg_atomic_read_u64(&shared()->base) != 0)
		return;
	pg_atomic_write_u32(&shared()->at_start, doubt ? 1 : 0);
	pg_atomic_write_u64(&shared()->base, (uint64) ((doubt ? last : now) - moment_now()));
}

/* Returns the time by the monotonic clock; wall, the wall clock's time, while base is not known. */
static TimestampTz
wall_clock_expected(TimestampTz wall)
{
	int64		base = shared() ? (int64) pg_atomic_read_u64(&shared()->base) : 0;

	return base == 0 ? wall : moment_now() + base;
}

TimestampTz
wall_clock_read(bool *in_doubt)
{
	TimestampTz wall = GetCurrentTimestamp();
	TimestampTz time = wall_clock_expected(wall);

	*in_doubt = is_beyond(wall - time);
	return *in_doubt ? time : wall;
}

TimestampTz
wall_clock_now(void)
{
	bool		in_doubt;

	return wall_clock_read(&in_doubt);
}

int64
wall_clock_doubt(void)
{
	TimestampTz wall = GetCurrentTimestamp();
	int64		ahead = wall - wall_clock_expected(wall);

	return is_beyond(ahead) ? ahead : 0;
}

bool
wall_clock_doubted_at_start(void)
{
	return shared() && pg_atomic_read_u32(&shared()->at_start) != 0 && wall_clock_doubt() != 0;
}

void
wall_clock_confirm(void)
{
	pg_atomic_write_u32(&shared()->at_start, 0);
	pg_atomic_write_u64(&shared()->base, (uint64) (GetCurrentTimestamp() - moment_now()));
}

void
wall_clock_correct(int64 base)
{
	pg_atomic_write_u64(&shared()->base, (uint64) base);
}

void
wall_clock_follow(void)
{
	TimestampTz wall = GetCurrentTimestamp();
	Moment		now = moment_now();
	int64		ahead = wall - now - (int64) pg_atomic_read_u64(&shared()->base);

	if (!is_beyond(ahead))
	{
		if (pg_atomic_exchange_u32(&shared()->told, 0) != 0)
			ereport(LOG, (errmsg("the clock of this server is what it should be again")));
		pg_atomic_write_u32(&shared()->at_start, 0);
		pg_atomic_write_u64(&shared()->base, (uint64) (wall - now));
	}
	else if (pg_atomic_exchange_u32(&shared()->told, 1) == 0)
		ereport(WARNING,
				(errmsg("the clock of this server is %s %s what it should be", wall_clock_span(ahead), ahead > 0 ? "ahead of" : "behind"),
				 errdetail("That is more than replication_plugin.max_clock_skew. Until it is set right, or found to be near those of other members,"
						   " commits get the time that has passed since it was near.")));
}

void
wall_clock_set_agreed(int64 offset)
{
	pg_atomic_write_u64(&shared()->agreed, (uint64) (offset < 0 ? -offset : offset) + 1);
}

int64
wall_clock_agreed(void)
{
	return (int64) pg_atomic_read_u64(&shared()->agreed) - 1;
}

int64
wall_clock_excess(TimestampTz ts)
{
	int64		ahead = ts - wall_clock_now();

	return ahead > wall_clock_limit() ? ahead : 0;
}

char *
wall_clock_span(int64 us)
{
	int64		n = us < 0 ? -us : us;

	if (n < 2 * MINUTE)
		return psprintf("%.3f s", n / (double) USECS_PER_SEC);
	if (n < 120 * MINUTE)
		return psprintf("%.1f minutes", n / (double) MINUTE);
	if (n < 48 * 60 * MINUTE)
		return psprintf("%.1f hours", n / (double) (60 * MINUTE));
	return psprintf("%.1f days", n / (double) (24 * 60 * MINUTE));
}
