/*
 * topology.h
 *		The links that a group has, and the origins that each of them carries in full.
 *
 * All functions are pure functions of replicated rows (the topology, the members), so every node
 * computes the same links without asking another node. What only one node knows, namely that a link
 * of its own is down, changes only that node's own incoming links (topology_reroute()). Where nodes
 * temporarily know different things, stubs and demand fill the gaps: nothing here decides what is
 * applied.
 */
#ifndef REPLICATION_PLUGIN_TOPOLOGY_H
#define REPLICATION_PLUGIN_TOPOLOGY_H

#include "model/version.h"

typedef enum TopologyShape
{
	TOPOLOGY_ALL_TO_ALL,
	TOPOLOGY_STAR,				/* the first node is the hub */
	TOPOLOGY_RING,				/* each node takes from the one before it */
	TOPOLOGY_CUSTOM				/* the links are listed */
} TopologyShape;

typedef struct TopologyLink
{
	NodeId		provider;
	NodeId		subscriber;
	bool		reroute;		/* stands in for a link that is down */
	int			nfull;			/* number of origins in full; the provider's own is first */
	NodeId	   *full;			/* with room for all members */
} TopologyLink;

/* The topology as it was set by SQL. May name nodes that have been removed since. */
typedef struct Topology
{
	TopologyShape shape;
	int			nnodes;			/* star, ring: the order of nodes */
	const NodeId *nodes;
	int			nlinks;			/* custom: number of links, from providers to subscribers */
	const NodeId *providers;
	const NodeId *subscribers;
} Topology;

/* A member to and from which links lead. */
typedef struct TopologyMember
{
	NodeId		node;
	NodeId		source;			/* the member through which it joined; INVALID_NODE_ID: the first */
} TopologyMember;

/* Links, in no order; palloc'd, with room for one from each member to each other one. */
typedef struct TopologyLinks
{
	int			n;
	TopologyLink *links;
} TopologyLinks;

/*
 * Convert between a shape and its name ("all_to_all", ...). topology_shape_from_text() returns
 * false for any other text.
 */
extern bool topology_shape_from_text(const char *text, TopologyShape *shape);
extern const char *topology_shape_name(TopologyShape shape);

/*
 * Returns the links that a topology has among the given members, which are sorted by number. A
 * member that the topology does not name becomes a leaf of a star, or the end of a ring, or is
 * linked in both directions to its source. A node that the topology names and that is no member is
 * left out; in a custom topology its providers and subscribers are linked directly.
 */
extern TopologyLinks *topology_links(const Topology *t, const TopologyMember *members, int n);

/*
 * Removes the links from the given providers to me, which are down. Adds links to me from the
 * providers of those nodes instead, and from their providers where these are down as well.
 */
extern void topology_reroute(TopologyLinks *l, NodeId me, const NodeId *down, int ndown,
							 const TopologyMember *members, int n);

/*
 * Determines which origins each link carries in full: each node takes an origin from a neighbour on
 * a shortest path.
 */
extern void topology_route(TopologyLinks *l, const TopologyMember *members, int n);

/*
 * Finds the members that cannot be reached from the first member, or cannot reach it. Fills in
 * unreachable, which has room for n, and returns their number.
 */
extern int topology_unreachable(const TopologyLinks *l, const TopologyMember *members, int n,
								NodeId *unreachable);

/* Returns the link; NULL if there is none. */
extern TopologyLink *topology_find(const TopologyLinks *l, NodeId provider, NodeId subscriber);

#endif							/* REPLICATION_PLUGIN_TOPOLOGY_H */
