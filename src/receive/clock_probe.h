/*
 * clock_probe.h
 *		Measures the offset of the provider's clock, using the stream's own messages.
 */
#ifndef REPLICATION_PLUGIN_CLOCK_PROBE_H
#define REPLICATION_PLUGIN_CLOCK_PROBE_H

#include "receive/link.h"

/* Forgets all measurements and makes the first one, by a query on a new connection. */
extern void clock_probe_first(Link *link);

/*
 * clock_probe_is_due() returns true if the provider should be asked for a keepalive now; call it
 * only when there is nothing to read. clock_probe_asked() notes that it has been asked.
 */
extern bool clock_probe_is_due(const ClockProbe *p);
extern void clock_probe_asked(ClockProbe *p);

/* Takes the provider's time from a keepalive; ignored if none was asked for. */
extern void clock_probe_answered(Link *link, TimestampTz provider_time);

#endif							/* REPLICATION_PLUGIN_CLOCK_PROBE_H */
