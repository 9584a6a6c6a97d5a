/*
 * clock_guard.c
 *		Checks this server's clock against those of the other members, and refuses local writes
 *		while it is not near them.
 *
 * Each link measures its provider's clock (receive/clock_probe.c). A member whose clock is within
 * max_clock_skew of this one's votes for this clock, any other member against it. A clock that has
 * been within the limit, and has run steadily since, has a vote of its own. So of two nodes, only
 * the one whose clock has jumped stops; if it cannot be known which of the two is wrong, both stop.
 *
 * A clock in doubt (shared/wall_clock.h) is confirmed when the others' clocks are near it. If no
 * member can be asked, a clock that has been in doubt since the start of the server is taken for
 * right, since servers may be down for long. A clock that jumped while the server ran is not.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/settings.h"
#include "control/group/clock_guard.h"
#include "shared/clock.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"
#include "shared/requirement.h"
#include "shared/wall_clock.h"

#define FRESH_MS	300000		/* a measurement counts this long after the link was lost */
/* time to wait for an answer after a start, as other servers may be starting as well */
#define ANSWER_MS	30000

/* The votes of the other members on this server's clock. */
typedef struct Votes
{
	int			members;		/* other members */
	int			agree;
	int			disagree;
	/* least difference of a disagreeing member: its clock minus this one's */
	int64		nearest;
	int64		nearest_base;	/* offset of that clock to the monotonic clock */
	const char *nearest_name;
} Votes;

/* Counts the vote of one link. */
static void
count_link(Votes *v, const LinkStatus *l, const char *name)
{
	bool		connected = l->pid != 0 && l->down_since == 0;
	int64		offset = l->clock_base + moment_now() - GetCurrentTimestamp();

	if (l->clock_error == 0 || (!connected && moment_is_past(l->clock_at, FRESH_MS)))
		return;
	if (Max(offset, -offset) - l->clock_error <= wall_clock_limit())
	{
		v->agree++;
		wall_clock_set_agreed(offset);
		return;
	}
	if (v->disagree++ == 0 || Max(offset, -offset) < Max(v->nearest, -v->nearest))
	{
		v->nearest = offset;
		v->nearest_base = l->clock_base;
		v->nearest_name = name;
	}
}

/* Counts the votes of all links. */
static Votes
count_votes(LocalNode *local, List *nodes)
{
	Votes		v = {0};
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		v.members += n->node_id != local->node_id && strcmp(n->state, "removed") != 0;
	}
	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;

		if (link_status_get(i, &l) && l.dboid == MyDatabaseId)
			count_link(&v, &l, nodes_name_in(nodes, l.provider));
	}
	return v;
}

/*
 * Settles a doubt if the others' clocks, or the lack of anyone to ask, settle it. Returns false if
 * an answer may still come.
 */
static bool
settle_doubt(const Votes *v)
{
	bool		asked = v->agree + v->disagree > 0;

	if (wall_clock_doubt() == 0)
		return true;
	if (v->members == 0 || v->agree > v->disagree)
		wall_clock_confirm();
	else if (!asked && wall_clock_doubted_at_start())
	{
		if (moment_now() < manager_status_attached_at(MyDatabaseId) + ANSWER_MS * INT64CONST(1000))
			return false;
		ereport(LOG,
				(errmsg("the clock of this server has gone %s %s since it was stopped, and no other member can be asked",
						wall_clock_span(wall_clock_doubt()), wall_clock_doubt() > 0 ? "on" : "back"),
				 errdetail("It is taken for right.")));
		wall_clock_confirm();
	}
	return true;
}

/* Returns true if the others' clocks show that this one is wrong. */
static bool
is_outvoted(const Votes *v)
{
	int64		agreed = wall_clock_agreed();
	bool		own_voice = wall_clock_doubt() == 0 && agreed >= 0 && agreed <= wall_clock_limit();

	return v->disagree > v->agree + (own_voice ? 1 : 0);
}

/* Finds why local writes must be refused. Returns false if there is no reason. */
static bool
find_problem(const Votes *v, ClockProblem *p)
{
	int64		lead = clock_lead();

	if (is_outvoted(v))
	{
		snprintf(p->problem, sizeof(p->problem),
				 "the clock of this server is %s %s that of node \"%s\", which is more than replication_plugin.max_clock_skew",
				 wall_clock_span(v->nearest), v->nearest < 0 ? "ahead of" : "behind", v->nearest_name);
		strlcpy(p->fix, CLOCK_FIX, sizeof(p->fix));
		return true;
	}
	if (lead <= wall_clock_limit())
		return false;
	snprintf(p->problem, sizeof(p->problem),
			 "timestamps of this node's transactions are %s ahead of its clock, which is more than replication_plugin.max_clock_skew",
			 wall_clock_span(lead));
	strlcpy(p->fix, "If other members have such transactions, raise replication_plugin.max_clock_skew on all nodes. If not,"
			" SELECT replication_plugin.remove_node(..., lost => true) on another one, and rejoin() here: what this node has written then is lost.",
			sizeof(p->fix));
	return true;
}

void
clock_guard_round(LocalNode *local, List *nodes)
{
	Votes		v;
	ClockProblem p;
	bool		is_wrong;

	if (strcmp(local->state, "ready") != 0 && strcmp(local->state, "leaving") != 0)
	{
		manager_status_set_clock(MyDatabaseId, true, NULL);
		return;
	}
	clock_ensure_restored();
	v = count_votes(local, nodes);
	if (!settle_doubt(&v))
		return;
	is_wrong = find_problem(&v, &p);
	/* never set it forward: that could not be undone */
	if (is_outvoted(&v) && wall_clock_doubt() == 0 && v.nearest < 0)
		wall_clock_correct(v.nearest_base);
	if (manager_status_set_clock(MyDatabaseId, true, is_wrong ? &p : NULL))
	{
		if (is_wrong)
			ereport(WARNING, (errmsg("writes to replicated tables are refused: %s", p.problem), errhint("%s", p.fix)));
		else
			ereport(LOG, (errmsg("writes to replicated tables are welcome again: the clocks agree")));
	}
}
