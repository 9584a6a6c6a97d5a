/*
 * pulse.h
 *		What a worker does while a long piece of work is under way: it answers its peers, gives way
 *		in deadlocks,
 *		and limits how long other people's code may run.
 *
 * Every loop of ours that can be long calls pulse(), those that other people's code cannot reach
 * pulse_step(). In a process without pulse_init() that is CHECK_FOR_INTERRUPTS() and nothing more.
 */
#ifndef REPLICATION_PLUGIN_PULSE_H
#define REPLICATION_PLUGIN_PULSE_H

#include <signal.h>

#include "miscadmin.h"

extern volatile sig_atomic_t pulse_due;
extern uint32 pulse_steps;

/*
 * Once per process. beat is called about once a second out of pulse(), never from a signal handler;
 * it must not raise errors. NULL: none.
 */
extern void pulse_init(void (*beat) (void *), void *arg);

/*
 * Work begins or has ended. Between the two, a step that does not come for
 * replication_plugin.row_timeout, while no lock is waited for, is an error (ERRCODE_QUERY_CANCELED,
 * and pulse_timed_out() is true).
 */
extern void pulse_begin(void);
extern void pulse_end(void);

/*
 * Work is interrupted by a wait for somebody else, in which nothing is limited, until
 * pulse_begin().
 */
extern void pulse_pause(void);

/*
 * From here to pulse_end() the piece of work may take so many milliseconds; 0: no limit. What is
 * running then is cancelled, and pulse_is_over() is true.
 */
extern void pulse_limit(int ms);
extern bool pulse_is_over(void);

/* There will be nothing to do for a while: no timer runs from here on. */
extern void pulse_rest(void);

/* True if the error at hand comes of the limit; forgets it. */
extern bool pulse_timed_out(void);

/* Does what is due; called by pulse(). */
extern void pulse_serve(void);

/* Time goes by. */
static inline void
pulse(void)
{
	if (unlikely(pulse_due))
		pulse_serve();
	CHECK_FOR_INTERRUPTS();
}

/* A step of a long piece of work is done: a row, or a look at one. */
static inline void
pulse_step(void)
{
	pulse_steps++;
	pulse();
}

#endif							/* REPLICATION_PLUGIN_PULSE_H */
