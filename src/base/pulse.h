/*
 * pulse.h
 *		The timer of a worker during a long piece of work. Through it the worker answers its
 *		peers, gives way in deadlocks, and limits how long code of users may run.
 *
 * Every loop of the extension that can be long calls pulse(); those that code of users cannot
 * influence call pulse_step(). In a process without pulse_init(), both are CHECK_FOR_INTERRUPTS()
 * and no more.
 */
#ifndef REPLICATION_PLUGIN_PULSE_H
#define REPLICATION_PLUGIN_PULSE_H

#include <signal.h>

#include "miscadmin.h"

extern volatile sig_atomic_t pulse_due;
extern volatile sig_atomic_t pulse_stepped;

/*
 * Called once per process. beat is called about once a second from pulse(), never from a signal
 * handler, and must not raise errors. NULL: none.
 */
extern void pulse_init(void (*beat) (void *), void *arg);

/*
 * Begin and end a piece of work. Between the two, if no step is taken for
 * replication_plugin.row_timeout while no lock is waited for, the error ERRCODE_QUERY_CANCELED is
 * raised, and pulse_timed_out() returns true.
 */
extern void pulse_begin(void);
extern void pulse_end(void);

/* Suspends all limits until pulse_begin(), during a wait for another process. */
extern void pulse_pause(void);

/*
 * Limits the piece of work, from here to pulse_end(), to ms milliseconds; 0: no limit. After that
 * the running work is cancelled, and pulse_is_over() returns true.
 */
extern void pulse_limit(int ms);
extern bool pulse_is_over(void);

/* Stops the timer until the next piece of work. Called when there is nothing to do for a while. */
extern void pulse_rest(void);

/* Returns true if the current error comes from a limit, and forgets that. */
extern bool pulse_timed_out(void);

/* Calls the beat function; called by pulse(). */
extern void pulse_serve(void);

/* Serves what is due, and interrupts. */
static inline void
pulse(void)
{
	if (unlikely(pulse_due))
		pulse_serve();
	CHECK_FOR_INTERRUPTS();
}

/* Marks a step of a long piece of work as done: a row, or a look at one. */
static inline void
pulse_step(void)
{
	pulse_stepped = true;
	pulse();
}

#endif							/* REPLICATION_PLUGIN_PULSE_H */
