/*
 * clock_probe.c
 *		Measures the offset of the provider's clock, using the stream's own messages.
 *
 * The measurement works like NTP (RFC 5905): the provider answers a status message with a keepalive
 * that carries its time. That time is taken for the middle between question and answer, so it is
 * wrong by at most half the round trip. The best measurement of the last minute counts. The worker
 * asks only when everything received has been processed, so that an answer is read without delay.
 *
 * The first measurement is an ordinary query before the stream starts. The stored value is the
 * offset of the provider's clock to the local monotonic clock, so it stays valid when the local
 * wall clock is set.
 *
 * The clock of commits does not use this (shared/clock.h). The offset is for users, and for
 * control/group/clock_guard.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/peer.h"
#include "base/settings.h"
#include "receive/clock_probe.h"
#include "shared/link_status.h"

#define FIRST_PROBES		3		/* in a row */
#define PROBE_MS			10000	/* then at this interval */
/* longest time that a measurement counts unless a better one comes */
#define BEST_FOR_MS			60000

#define SECOND		INT64CONST(1000000)

static const char clock_of_provider_sql[] =
	"SELECT (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()"
	" - '2000-01-01 00:00:00+00'::pg_catalog.timestamptz) * 1000000)::pg_catalog.int8";

/* Forgets all measurements. */
static void
clock_probe_start(ClockProbe *p)
{
	p->asked_at = 0;
	p->last_asked_at = 0;
	p->probes = 0;
	p->best_error = 0;
}

bool
clock_probe_is_due(const ClockProbe *p)
{
	return (p->asked_at == 0 && p->probes < FIRST_PROBES) ||
		   moment_is_past(p->last_asked_at, PROBE_MS);
}

void
clock_probe_asked(ClockProbe *p)
{
	p->asked_at = p->last_asked_at = moment_now();
	p->probes++;
}

/* Warns when the clocks are too far apart, and reports when they no longer are. */
static void
clock_probe_warn(Link *link, int64 offset, int64 error)
{
	ClockProbe *p = &link->clock;
	int64		limit = setting_clock_offset_warning * INT64CONST(1000);
	int64		least = Max(offset < 0 ? -offset - error : offset - error, 0);
	bool		too_far = setting_clock_offset_warning >= 0 && least > limit;

	if (too_far && !p->warned)
		ereport(WARNING,
				(errmsg("the clock of node \"%s\" is %s of this server's by %.3f s", link->provider_name,
						offset > 0 ? "ahead" : "behind", (offset < 0 ? -offset : offset) / 1000000.0),
				 errdetail("No write is lost by that, but of concurrent writes those of the server whose clock is ahead win."),
				 errhint("Synchronise the clocks of both servers (NTP). replication_plugin.clock_offset_warning is the limit.")));
	else if (!too_far && p->warned)
		ereport(LOG, (errmsg("the clock of node \"%s\" is near this server's again", link->provider_name)));
	p->warned = too_far;
}

/* Returns true if the provider's clock must have been set since the best measurement. */
static bool
has_moved(const ClockProbe *p, int64 base, int64 error)
{
	int64		by = base - p->best_base;

	return Max(by, -by) > error + p->best_error + SECOND;
}

void
clock_probe_answered(Link *link, TimestampTz provider_time)
{
	ClockProbe *p = &link->clock;
	Moment		now = moment_now();
	int64		error = (now - p->asked_at) / 2 + 1;
	int64		base = provider_time - (p->asked_at + (now - p->asked_at) / 2);

	if (p->asked_at == 0)
		return;
	p->asked_at = 0;
	if (p->best_error != 0 && error > p->best_error && !moment_is_past(p->best_at, BEST_FOR_MS) &&
		!has_moved(p, base, error))
		return;
	p->best_error = error;
	p->best_base = base;
	p->best_at = now;
	link_status_set_clock(link->index, base, error);
	clock_probe_warn(link, base + moment_now() - GetCurrentTimestamp(), error);
}

void
clock_probe_first(Link *link)
{
	PGresult   *res;
	TimestampTz time;

	clock_probe_start(&link->clock);
	clock_probe_asked(&link->clock);
	res = peer_exec(link->conn, clock_of_provider_sql);
	time = (TimestampTz) strtoll(PQgetvalue(res, 0, 0), NULL, 10);
	PQclear(res);
	clock_probe_answered(link, time);
}
