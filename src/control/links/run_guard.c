/*
 * run_guard.c
 *		Holds local writes back after a start of the server until other members know whether it runs
 *		on, or was restored from an old backup.
 *
 * A server that was set back does not know it. What it writes until another member recognises it
 * (docs/protocol.md, Run) is lost when it rejoins. Therefore local writes wait until every provider
 * that can be reached has accepted this run, and at least one has. If none can be reached, they wait
 * for replication_plugin.contact_patience, because the other servers may be down for long.
 *
 * The sessions wait in control/guard/write_guard.c. The judgement is in shared memory, so it holds
 * for one run of the server.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "base/moment.h"
#include "base/settings.h"
#include "control/links/run_guard.h"
#include "shared/link_status.h"
#include "shared/manager_status.h"

#define OTHERS_MS	10000

/* The links from other ready members, by what is known of the provider's answer. */
typedef struct Contacts
{
	int			open;
	int			made;
} Contacts;

/* Returns true if another node is a ready member. */
static bool
is_ready_member(List *nodes, NodeId me, NodeId node)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == node)
			return node != me && strcmp(n->state, "ready") == 0;
	}
	return false;
}

/* Returns true if no other node is a ready member. */
static bool
is_alone(List *nodes, NodeId me)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		if (is_ready_member(nodes, me, ((NodeRow *) lfirst(lc))->node_id))
			return false;
	}
	return true;
}

/* Counts the answers to this node's links. */
static Contacts
count_contacts(List *nodes, NodeId me)
{
	Contacts	c = {0};

	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;

		if (!link_status_get(i, &l) || l.dboid != MyDatabaseId || l.state == LINK_PAUSED ||
			!is_ready_member(nodes, me, l.provider))
			continue;
		c.open += l.contact == CONTACT_OPEN;
		c.made += l.contact == CONTACT_MADE;
	}
	return c;
}

/*
 * Returns true if local writes have waited long enough. Without a limit they wait until one member
 * has answered, and then not for ever for the others.
 */
static bool
is_patience_over(const Contacts *c, Moment since)
{
	int			ms = setting_contact_patience;

	if (ms < 0 && c->made > 0)
		ms = OTHERS_MS;
	return ms >= 0 && moment_is_past(since, ms);
}

void
run_guard_round(Moment *since, LocalNode *local, List *nodes)
{
	Contacts	c;

	if (*since == 0)
		*since = moment_now();
	if (strcmp(local->state, "ready") != 0 || manager_status_run_judged(MyDatabaseId))
		return;
	c = count_contacts(nodes, local->node_id);
	if (!is_alone(nodes, local->node_id) && (c.made == 0 || c.open > 0))
	{
		if (!is_patience_over(&c, *since))
			return;
		ereport(LOG,
				(errmsg("local writes begin, although %s has told that this server was not restored from an old backup",
						c.made == 0 ? "no other member" : "not every other member"),
				 errdetail("replication_plugin.contact_patience is over.")));
	}
	manager_status_set_run_judged(MyDatabaseId);
}
