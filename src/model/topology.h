/*
 * topology.h
 *		Which links a group has, and which origins each of them carries in full.
 *
 * All of it is a pure function of replicated rows (the topology, the members), so every
 * node finds the same links without asking anybody. What only one node knows, that a link
 * of its own is down, changes that node's own incoming links alone (topology_reroute).
 * Where nodes know different things for a while, stubs and demand fill the gaps: nothing
 * here decides what is applied.
 */
#ifndef REPLICATION_PLUGIN_TOPOLOGY_H
#define REPLICATION_PLUGIN_TOPOLOGY_H

#include "model/version.h"

typedef enum TopologyShape
{
	TOPOLOGY_ALL_TO_ALL,
	TOPOLOGY_STAR,				/* the first node is the hub */
	TOPOLOGY_RING,				/* each takes from the one before it */
	TOPOLOGY_CUSTOM				/* the links are listed */
} TopologyShape;

typedef struct TopologyLink
{
	NodeId		provider;
	NodeId		subscriber;
	bool		reroute;		/* stands in for a link that is down */
	int			nfull;			/* origins that it carries in full, the provider's own first */
	NodeId	   *full;			/* room for all members */
} TopologyLink;

/* What was set by SQL; names nodes that may have been removed since. */
typedef struct Topology
{
	TopologyShape shape;
	int			nnodes;			/* star, ring: in this order */
	const NodeId *nodes;
	int			nlinks;			/* custom: providers and subscribers */
	const NodeId *providers;
	const NodeId *subscribers;
} Topology;

/* A member that links lead to and from. */
typedef struct TopologyMember
{
	NodeId		node;
	NodeId		source;			/* through which member it joined; INVALID_NODE_ID for the first */
} TopologyMember;

/* Links, in no order; palloc'd. Room for one from each member to each other one. */
typedef struct TopologyLinks
{
	int			n;
	TopologyLink *links;
} TopologyLinks;

/* "all_to_all", ...; returns false for another text. */
extern bool topology_shape_from_text(const char *text, TopologyShape *shape);
extern const char *topology_shape_name(TopologyShape shape);

/*
 * The links that a topology has among the given members (sorted by number). Members that it does
 * not name: leaves of a star, the end of a ring, linked both ways to their source. Nodes that
 * it names and that are no members: left out; in 'custom' their providers and subscribers are
 * linked in their place.
 */
extern TopologyLinks *topology_links(const Topology *t, const TopologyMember *members, int n);

/*
 * Takes the links from the given providers to me out, as they are down, and has me take from the
 * providers of those instead (and from theirs, where these are down as well).
 */
extern void topology_reroute(TopologyLinks *l, NodeId me, const NodeId *down, int ndown,
							 const TopologyMember *members, int n);

/*
 * Sets which origins each link carries in full: each node takes an origin from a neighbour on a
 * shortest path.
 */
extern void topology_route(TopologyLinks *l, const TopologyMember *members, int n);

/*
 * Members that do not get from and to the first member; returns their number, fills unreachable
 * (room for n).
 */
extern int	topology_unreachable(const TopologyLinks *l, const TopologyMember *members, int n, NodeId *unreachable);

/* The link, or NULL. */
extern TopologyLink *topology_find(const TopologyLinks *l, NodeId provider, NodeId subscriber);

#endif							/* REPLICATION_PLUGIN_TOPOLOGY_H */
