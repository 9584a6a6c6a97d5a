/*
 * pulse.c
 *		The timer of a worker during a long piece of work.
 *
 * The timer ticks several times a second. Its handler runs in a signal, so it only sets flags:
 *
 * - pulse_due, once a second: the next pulse() calls the worker's beat function.
 * - While the process waits for a lock, the flag by which PostgreSQL checks for deadlocks.
 *   PostgreSQL itself checks once, when the wait has lasted for deadlock_timeout. A session that
 *   closes the circle later would detect the deadlock and be rolled back. A worker checks
 *   repeatedly, and sooner than any session does, so the worker is the one that gives way.
 * - The flag of a cancelled query, when no step has been taken for replication_plugin.row_timeout
 *   and no lock is waited for. Since all loops of the extension take steps, a trigger, expression
 *   or type of a user is running then. Code that ignores three cancellations ends with its process.
 *   The same happens when the whole piece of work takes longer than its limit, even while a lock is
 *   waited for, and when the wait for a lock exceeds replication_plugin.lock_patience: code that
 *   runs here can have changed lock_timeout for itself.
 *
 * The first piece of work starts the timer, which runs until the worker rests. So a short
 * transaction only pays for a look at a flag.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/timeout.h"

#include "base/moment.h"
#include "base/pulse.h"
#include "base/settings.h"

#define BEAT_MS			1000
#define LONGEST_TICK_MS	200
#define SHORTEST_TICK_MS	5
#define MOST_CANCELS	3
/* added to lock_patience, so that lock_timeout, unless changed, comes first */
#define BEYOND_PATIENCE_MS	10000

volatile sig_atomic_t pulse_due = false;
volatile sig_atomic_t pulse_stepped = false;	/* since the last tick */

/* Written by the handler while the timer runs, else by the process. */
static volatile sig_atomic_t limited = false;	/* between pulse_begin() and pulse_end() */
static volatile sig_atomic_t cancels = 0;	/* since the last step */
static Moment last_step = 0;
static Moment wait_began = 0;	/* when the present wait for a lock began; 0: none */
static volatile Moment end = 0;			/* by pulse_limit(); 0: none */
/* ... and when the running work is cancelled next */
static volatile Moment cancel_at = 0;
static Moment last_beat = 0;

static void (*beat_function) (void *) = NULL;	/* NULL: none, or it runs */
static void *beat_arg = NULL;
static TimeoutId timer;			/* below USER_TIMEOUT: not initialized */

/* Returns true while this process waits for a lock. */
static bool
waits_for_lock(void)
{
	return MyProc->waitStatus == PROC_WAIT_STATUS_WAITING;
}

/* Cancels what is running: the query at first, the process if that does not help. */
static void
pulse_cancel(void)
{
	if (++cancels > MOST_CANCELS)
		ProcDiePending = true;
	else
		QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* Handler of the timer. */
static void
pulse_tick(void)
{
	Moment		now = moment_now();

	/* a process that exits has given MyProc back, and needs no pulse */
	if (!MyProc || proc_exit_inprogress)
		return;
	if (!waits_for_lock())
		wait_began = 0;
	else if (wait_began == 0)
		wait_began = now;
	if (limited && end != 0 && now >= cancel_at)
	{
		cancel_at = now + BEAT_MS * INT64CONST(1000);
		last_step = now;
		pulse_cancel();
	}
	else if (waits_for_lock())
	{
		CheckDeadLockAlert();
		last_step = now;
		if (limited && setting_lock_patience > 0 &&
			now - wait_began > (setting_lock_patience + BEYOND_PATIENCE_MS) * INT64CONST(1000))
		{
			wait_began = now;
			pulse_cancel();
		}
	}
	else if (!limited || pulse_stepped)
	{
		pulse_stepped = false;
		last_step = now;
		cancels = 0;
	}
	else if (setting_row_timeout > 0 && now - last_step >= setting_row_timeout * INT64CONST(1000))
	{
		last_step = now;
		pulse_cancel();
	}
	if (now - last_beat >= BEAT_MS * INT64CONST(1000))
	{
		last_beat = now;
		pulse_due = true;
	}
}

void
pulse_init(void (*beat) (void *), void *arg)
{
	if (timer < USER_TIMEOUT)
		timer = RegisterTimeout(USER_TIMEOUT, pulse_tick);
	beat_function = beat;
	beat_arg = arg;
}

/* Starts the timer. */
static void
pulse_start(void)
{
	int			ms = Max(SHORTEST_TICK_MS, Min(DeadlockTimeout / 4, LONGEST_TICK_MS));

	last_beat = moment_now();
	enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms), ms);
}

void
pulse_begin(void)
{
	if (timer < USER_TIMEOUT)
		return;
	if (!get_timeout_active(timer))
		pulse_start();
	pulse_stepped = true;
	limited = true;
}

void
pulse_end(void)
{
	limited = false;
	end = 0;
	pulse_stepped = true;
}

void
pulse_pause(void)
{
	limited = false;
	pulse_stepped = true;
}

void
pulse_limit(int ms)
{
	Assert(ms >= 0);
	end = 0;
	cancel_at = moment_now() + ms * INT64CONST(1000);
	end = ms > 0 ? cancel_at : 0;
}

bool
pulse_is_over(void)
{
	return end != 0 && moment_now() >= end;
}

void
pulse_rest(void)
{
	if (timer >= USER_TIMEOUT && get_timeout_active(timer))
		disable_timeout(timer, false);
	pulse_due = false;
}

bool
pulse_timed_out(void)
{
	bool		result = cancels > 0;

	cancels = 0;
	return result;
}

void
pulse_serve(void)
{
	void		(*beat) (void *) = beat_function;

	pulse_due = false;
	if (!beat)
		return;
	beat_function = NULL;
	beat(beat_arg);
	beat_function = beat;
}
