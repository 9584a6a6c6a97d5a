/*
 * pulse.c
 *		What a worker does while a long piece of work is under way.
 *
 * A timer ticks some times a second. Its handler runs in a signal, so it sets flags and no more:
 *
 *	- pulse_due, once a second: the next pulse() calls the worker's beat function;
 *	- while a lock is waited for, the flag by which PostgreSQL looks for deadlocks. PostgreSQL
 *	itself looks once, when the
 *	wait has lasted for deadlock_timeout; a session that closes the circle later would be the one to
 *	find it, and to be
 *	rolled back. A worker looks again and again, sooner than any session does, so it is the one that
 *	gives way;
 *	- the flag of a cancelled query, when no step has been done for replication_plugin.row_timeout
 *	and no lock is waited for:
 *	then somebody's trigger, expression or type is at work, as all loops of ours take steps. Code
 *	that takes no notice
 *	of that three times over ends with its process. The same when the whole piece of work takes
 *	longer than it may, also if a lock
 *	is waited for, and when a lock is waited for beyond replication_plugin.lock_patience: whose code
 *	runs here can have set
 *	  lock_timeout for itself.
 *
 * The timer is started by the first piece of work and goes on until the worker rests, so a short
 * transaction pays for a look at a flag.
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
/* after lock_patience: lock_timeout comes first, where it is what it was */
#define BEYOND_PATIENCE_MS	10000

volatile sig_atomic_t pulse_due = false;
uint32		pulse_steps = 0;

/* Written by the handler while the timer runs, else by the process. */
static volatile sig_atomic_t limited = false;	/* between pulse_begin() and pulse_end() */
static volatile sig_atomic_t cancels = 0;	/* since the last step */
static uint32 last_steps = 0;
static Moment last_step = 0;
static Moment wait_began = 0;	/* for a lock; 0: none is waited for */
static volatile Moment end = 0;			/* pulse_limit(); 0: none */
/* ... and when what is running then is cancelled, again and again */
static volatile Moment cancel_at = 0;
static Moment last_beat = 0;

static void (*beat_function) (void *) = NULL;
static void *beat_arg = NULL;
static TimeoutId timer;
static bool initialized = false;
static bool ticking = false;
static bool serving = false;

/* True while this process sleeps until somebody gives a lock back. */
static bool
waits_for_lock(void)
{
	return MyProc->waitStatus == PROC_WAIT_STATUS_WAITING;
}

/* Ends what is running: the query at first, the process if that does not help. */
static void
cancel(void)
{
	if (++cancels > MOST_CANCELS)
		ProcDiePending = true;
	else
		QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* The timer's handler. */
static void
tick(void)
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
		cancel();
	}
	else if (waits_for_lock())
	{
		CheckDeadLockAlert();
		last_step = now;
		if (limited && setting_lock_patience > 0 && now - wait_began > (setting_lock_patience + BEYOND_PATIENCE_MS) * INT64CONST(1000))
		{
			wait_began = now;
			cancel();
		}
	}
	else if (!limited || pulse_steps != last_steps)
	{
		last_steps = pulse_steps;
		last_step = now;
		cancels = 0;
	}
	else if (setting_row_timeout > 0 && now - last_step >= setting_row_timeout * INT64CONST(1000))
	{
		last_step = now;
		cancel();
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
	if (!initialized)
		timer = RegisterTimeout(USER_TIMEOUT, tick);
	initialized = true;
	beat_function = beat;
	beat_arg = arg;
}

/* Starts the timer. */
static void
start(void)
{
	int			ms = Max(SHORTEST_TICK_MS, Min(DeadlockTimeout / 4, LONGEST_TICK_MS));

	last_beat = moment_now();
	enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms), ms);
	ticking = true;
}

void
pulse_begin(void)
{
	if (!initialized)
		return;
	if (!ticking)
		start();
	pulse_steps++;
	limited = true;
}

void
pulse_end(void)
{
	limited = false;
	end = 0;
	pulse_steps++;
}

void
pulse_pause(void)
{
	limited = false;
	pulse_steps++;
}

void
pulse_limit(int ms)
{
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
	if (ticking)
		disable_timeout(timer, false);
	ticking = false;
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
	pulse_due = false;
	if (!beat_function || serving)
		return;
	serving = true;
	beat_function(beat_arg);
	serving = false;
}
