/*
 * clock_probe.h
 *		Measures how far the provider's clock is from ours, on the stream's own messages.
 */
#ifndef REPLICATION_PLUGIN_CLOCK_PROBE_H
#define REPLICATION_PLUGIN_CLOCK_PROBE_H

#include "receive/link.h"

/* A connection is made: nothing is known; asks at once, by a query. */
extern void clock_probe_first(Link *link);

/* True if the provider should be asked for a keepalive now; only when there is nothing to read. */
extern bool clock_probe_is_due(const ClockProbe *p);
extern void clock_probe_asked(ClockProbe *p);

/* A keepalive with the provider's time has come. */
extern void clock_probe_answered(Link *link, TimestampTz provider_time);

#endif							/* REPLICATION_PLUGIN_CLOCK_PROBE_H */
