/*
 * clock.c
 *		The state of the hybrid logical clock, in shared memory and on disk.
 *
 * max_seen is the greatest timestamp that was given or observed. A commit that finds the wall clock
 * ahead of max_seen raises max_seen to the wall clock and lets PostgreSQL take the timestamp as
 * usual, a moment later. Otherwise the commit takes max_seen + 1. The time until the commit record
 * is written is covered by an entry per process in "commits": the commit will have a timestamp
 * greater than that entry. A process makes its entry before it reads max_seen, and clock_horizon()
 * reads max_seen before the entries. So a process whose entry clock_horizon() misses reads max_seen
 * later, and gets a greater timestamp.
 *
 * If the wall clock is set back in the microseconds between here and the commit record, a commit
 * that takes the wall clock's time gets a timestamp that is too low. PostgreSQL cannot be given a
 * timestamp without marking the commit; commit_stamp.c reports the case.
 *
 * After a start of the server, the first process that needs the clock restores it from a file, and
 * from the commit timestamps of all transactions that were running when the file was written or
 * began later. Without the file (after the promotion of a standby, or at a first start) the last
 * SCAN_MOST transactions are examined.
 */
#include "postgres.h"

#include <unistd.h>

#include "access/commit_ts.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/fd.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/moment.h"
#include "base/shmem.h"
#include "shared/areas.h"
#include "shared/clock.h"
#include "shared/wall_clock.h"

#define CLOCK_FILE		"pg_stat/replication_plugin.clock"
#define CLOCK_FORMAT	"replication_plugin clock %d: " INT64_FORMAT " " UINT64_FORMAT " " INT64_FORMAT "\n"
#define CLOCK_VERSION	2		/* 1 has no wall clock time at the end */
#define SAVE_MS			10000	/* the file is at most this old, and ... */
/* ... this many transactions behind, while the launcher can keep up */
#define SAVE_XIDS		200000
#define SCAN_MOST		4000000 /* transactions examined without the file */
/* age limit of the file while the clock stands still, since it also has the wall clock's time */
#define SAVE_IDLE_MS	60000
#define XID_MARGIN		10000	/* transactions end a moment before max_seen has their timestamps */
#define SPIN_US			50		/* if behind by less, waiting is cheaper than marking the commit */

typedef struct CommitSlot
{
	/* the commit will have a timestamp greater than this; 0: no commit under way */
	pg_atomic_uint64 above;
	char		padding[PG_CACHE_LINE_SIZE - sizeof(pg_atomic_uint64)];
} CommitSlot;

typedef struct Clock
{
	LWLock		lock;			/* for restoring */
	pg_atomic_uint32 restored;
	pg_atomic_uint64 max_seen;
	/*
	 * Transactions before this one (a FullTransactionId) need no examination: max_seen has their
	 * commits, or they do not count.
	 */
	pg_atomic_uint64 counted;
	int			ncommits;
	CommitSlot	commits[FLEXIBLE_ARRAY_MEMBER]; /* by PGPROC number */
} Clock;

/* Returns the area; NULL if this server has no shared memory. */
static inline Clock *
shared(void)
{
	return shmem_address(AREA_CLOCK);
}

StaticAssertDecl(offsetof(Clock, lock) == 0, "the lock is to be first: base/shmem.h");

static Size
area_size(void)
{
	return add_size(offsetof(Clock, commits), mul_size(MaxBackends, sizeof(CommitSlot)));
}

static void
area_init(void *address)
{
	Clock	   *area = address;

	pg_atomic_init_u32(&area->restored, 0);
	pg_atomic_init_u64(&area->max_seen, 0);
	pg_atomic_init_u64(&area->counted, 0);
	area->ncommits = MaxBackends;
	for (int i = 0; i < area->ncommits; i++)
		pg_atomic_init_u64(&area->commits[i].above, 0);
}

const ShmemArea clock_area = {
	.name = "replication_plugin clock",
	.tranche = "replication_plugin_clock",
	.size = area_size,
	.init = area_init,
};

/* Converts a timestamp to a number. Timestamps before 2000 never move the clock, and become 0. */
static uint64
as_number(TimestampTz ts)
{
	return ts > 0 ? (uint64) ts : 0;
}

/* Raises max_seen to at least this; never lowers it. */
static void
raise_to(uint64 to)
{
	uint64		seen = pg_atomic_read_u64(&shared()->max_seen);

	while (seen < to && !pg_atomic_compare_exchange_u64(&shared()->max_seen, &seen, to))
		;
}

/* ---------- over a restart ---------- */

/*
 * Reads the clock file. Returns true if the file exists and is well formed. *wall receives the wall
 * clock's time when the file was written, 0 if the file does not have it. Warns of a malformed
 * file.
 */
static bool
clock_read_file(uint64 *seen, FullTransactionId *from, TimestampTz *wall)
{
	FILE	   *f = AllocateFile(CLOCK_FILE, "r");
	int			version;
	int64		ts;
	uint64		xid;
	bool		good;

	*wall = 0;
	if (!f)
		return false;
	good = fscanf(f, CLOCK_FORMAT, &version, &ts, &xid, wall) >= 3 && ts >= 0;
	FreeFile(f);
	if (!good)
	{
		ereport(WARNING, (errmsg("file \"%s\" is malformed", CLOCK_FILE),
						  errdetail("The clock is restored from the timestamps of the last %d transactions.", SCAN_MOST)));
		return false;
	}
	*seen = ts;
	*from = FullTransactionIdFromU64(xid);
	return true;
}

/* Returns the transaction number that is n before another one. */
static FullTransactionId
xid_before(FullTransactionId xid, uint64 n)
{
	uint64		u = U64FromFullTransactionId(xid);

	return FullTransactionIdFromU64(u > n + FirstNormalTransactionId ? u - n
																	 : FirstNormalTransactionId);
}

/* Returns the greatest commit timestamp of the transactions in [from, end); 0 if there is none. */
static uint64
newest_commit(FullTransactionId from, FullTransactionId end)
{
	TimestampTz newest = 0;

	if (!track_commit_timestamp)
		return 0;
	for (; FullTransactionIdPrecedes(from, end); FullTransactionIdAdvance(&from))
	{
		TimestampTz ts;

		if (TransactionIdGetCommitTsData(XidFromFullTransactionId(from), &ts, NULL))
			newest = Max(newest, ts);
	}
	return newest;
}

/* Brings the clock to where it was before the server was stopped. The lock is held. */
static void
clock_restore(void)
{
	FullTransactionId next = ReadNextFullTransactionId();
	FullTransactionId from = xid_before(next, SCAN_MOST);
	FullTransactionId noted;
	TimestampTz wall;
	uint64		seen;

	Assert(LWLockHeldByMeInMode(&shared()->lock, LW_EXCLUSIVE));
	if (clock_read_file(&seen, &noted, &wall))
	{
		raise_to(seen);
		if (FullTransactionIdFollows(noted, from))
			from = noted;
		pg_atomic_write_u64(&shared()->counted, U64FromFullTransactionId(noted));
	}
	raise_to(newest_commit(from, next));
	wall_clock_start(wall);
}

void
clock_ensure_restored(void)
{
	shmem_require();
	if (pg_atomic_read_u32(&shared()->restored))
		return;
	LWLockAcquire(&shared()->lock, LW_EXCLUSIVE);
	if (!pg_atomic_read_u32(&shared()->restored))
	{
		clock_restore();
		/* a standby restores again, since commits go on arriving */
		pg_atomic_write_u32(&shared()->restored, RecoveryInProgress() ? 0 : 1);
	}
	LWLockRelease(&shared()->lock);
}

/*
 * Returns a transaction before which all transactions have ended, with their timestamps in max_seen
 * if it is read after this.
 */
static FullTransactionId
ended_before(void)
{
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId oldest = oldest_active_xid();
	FullTransactionId ended =
		xid_before(next, (uint32) (XidFromFullTransactionId(next) - oldest) + XID_MARGIN);

	return FullTransactionIdFromU64(
		Max(U64FromFullTransactionId(ended), pg_atomic_read_u64(&shared()->counted)));
}

/*
 * Writes the clock file atomically; logs a failure. With an older file, more transactions are
 * examined after a start, but no timestamp is missed.
 */
static void
write_file(uint64 seen, FullTransactionId from)
{
	const char *temp = CLOCK_FILE ".tmp";
	FILE	   *f = AllocateFile(temp, "w");
	bool		written = f && fprintf(f, CLOCK_FORMAT, CLOCK_VERSION, (int64) seen,
									   U64FromFullTransactionId(from), (int64) wall_clock_now()) > 0;

	if ((f && FreeFile(f) != 0) || !written)
		ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", temp)));
	else
		(void) durable_rename(temp, CLOCK_FILE, LOG);
}

void
clock_save(ClockSaved *saved)
{
	FullTransactionId from;
	uint64		seen;

	clock_ensure_restored();
	from = ended_before();
	pg_memory_barrier();
	seen = pg_atomic_read_u64(&shared()->max_seen);
	if (seen == saved->seen ? !moment_is_past(saved->at, SAVE_IDLE_MS)
							: (U64FromFullTransactionId(from) < saved->xid + SAVE_XIDS &&
							   !moment_is_past(saved->at, SAVE_MS)))
		return;
	write_file(seen, from);
	*saved = (ClockSaved) {seen, U64FromFullTransactionId(from), moment_now()};
}

void
clock_set_back(TimestampTz to)
{
	FullTransactionId next = ReadNextFullTransactionId();

	pg_atomic_write_u64(&shared()->counted, U64FromFullTransactionId(next));
	pg_atomic_write_u64(&shared()->max_seen, as_number(to));
	write_file(as_number(to), next);
}

/* ---------- giving timestamps ---------- */

void
clock_observe(TimestampTz ts)
{
	if (shared())
		raise_to(as_number(ts));
}

/*
 * Takes a timestamp: the time by wall_clock_read() if that is ahead of max_seen, else max_seen + 1.
 * Returns true if PostgreSQL's own timestamp will do, that is, if the time was ahead and the wall
 * clock is not in doubt.
 */
static bool
clock_take(uint64 *ts)
{
	uint64		seen = pg_atomic_read_u64(&shared()->max_seen);

	for (;;)
	{
		bool		in_doubt;
		uint64		now = as_number(wall_clock_read(&in_doubt));
		bool		is_ahead = now > seen;

		if (!is_ahead && seen - now < SPIN_US)
		{
			seen = pg_atomic_read_u64(&shared()->max_seen);
			continue;
		}
		*ts = is_ahead ? now : seen + 1;
		if (pg_atomic_compare_exchange_u64(&shared()->max_seen, &seen, *ts))
			return is_ahead && !in_doubt;
	}
}

int64
clock_lead(void)
{
	clock_ensure_restored();
	return (int64) pg_atomic_read_u64(&shared()->max_seen) - wall_clock_now();
}

TimestampTz
clock_tick(void)
{
	uint64		ts;

	clock_ensure_restored();
	(void) clock_take(&ts);
	return (TimestampTz) ts;
}

/* Returns this process's entry in "commits". */
static pg_atomic_uint64 *
my_commit(void)
{
	Assert(own_proc_number() < shared()->ncommits);
	return &shared()->commits[own_proc_number()].above;
}

/*
 * Raises max_seen to a given timestamp. Returns false, and changes nothing, unless the timestamp is
 * ahead of max_seen.
 */
static bool
clock_claim(uint64 given)
{
	uint64		seen = pg_atomic_read_u64(&shared()->max_seen);

	while (seen < given)
	{
		if (pg_atomic_compare_exchange_u64(&shared()->max_seen, &seen, given))
			return true;
	}
	return false;
}

TimestampTz
clock_begin_commit(TimestampTz given)
{
	uint64		expected;
	uint64		ts;

	clock_ensure_restored();
	expected = as_number(given ? given : wall_clock_now());
	pg_atomic_write_u64(my_commit(),
						Max(Min(expected, pg_atomic_read_u64(&shared()->max_seen)), 2) - 1);
	pg_memory_barrier();
	if (given)
	{
		if (wall_clock_excess(given) == 0 && clock_claim(expected))
			return 0;
		(void) clock_take(&ts);
		return (TimestampTz) ts;
	}
	return clock_take(&ts) ? 0 : (TimestampTz) ts;
}

void
clock_end_commit(TimestampTz ts)
{
	raise_to(as_number(ts));
	pg_write_barrier();
	pg_atomic_write_u64(my_commit(), 0);
}

TimestampTz
clock_horizon(void)
{
	uint64		horizon;

	clock_ensure_restored();
	horizon = Max(pg_atomic_read_u64(&shared()->max_seen), as_number(wall_clock_now()));
	pg_memory_barrier();
	for (int i = 0; i < shared()->ncommits; i++)
	{
		uint64		above = pg_atomic_read_u64(&shared()->commits[i].above);

		if (above != 0)
			horizon = Min(horizon, above);
	}
	return (TimestampTz) horizon;
}
