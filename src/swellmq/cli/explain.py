"""`swellmq explain`: what a client may do, which rule of the ACL file decides, and why."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from swellmq.errors import MalformedPacket, SettingsError

if TYPE_CHECKING:
    from swellmq.settings import Settings

EPILOG: Final = """\
The exit code is 0 where it is allowed, 1 where it is not.

examples:
  swellmq explain --config swellmq.toml --user ada --client tablet-1 publish home/kitchen/light
  swellmq explain --acl acl.toml --client sensor-7 subscribe 'home/#'
"""
RIGHTS: Final = ("publish", "subscribe", "receive", "retain", "will")
EXIT_DENIED: Final = 1
EXIT_BAD_USAGE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Say what a client may do, which rule of the ACL file decides, and why."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-c", "--config", metavar="FILE", help="a configuration that names an ACL file")
    source.add_argument("--acl", metavar="FILE", help="an ACL file")
    parser.add_argument("-l", "--listener", metavar="PORT|PATH", help="the listener it comes by, where they differ")
    parser.add_argument("-u", "--user", metavar="NAME", help="the client's user name; left out: it has none")
    parser.add_argument("-i", "--client", metavar="ID", default="", help="its client id")
    parser.add_argument("right", choices=RIGHTS, help="what it wants to do; retain and will come on top of publish")
    parser.add_argument("topic", metavar="TOPIC", help="a topic name; a topic filter for subscribe")


def run(arguments: argparse.Namespace) -> int:
    from swellmq.access.acl import load_acl
    from swellmq.access.rules import RIGHTS as RIGHTS_BY_NAME
    from swellmq.codec.topic import check_topic_filter, check_topic_name, split_share
    from swellmq.settings import Settings

    topic = os.fsencode(arguments.topic)
    subscribes = arguments.right == "subscribe"
    try:
        (check_topic_filter if subscribes else check_topic_name)(topic)
        path, where = arguments.acl, "--acl"
        if path is None:
            settings = Settings.load(arguments.config, os.environ, {})
            path, where = acl_file(settings, arguments.listener)
        if not path:
            print("allowed: there is no ACL file (access.acl_file)")
            return 0
        rules = load_acl(path, where)
    except MalformedPacket as error:
        kind = "filter" if subscribes else "name"
        print(f"swellmq explain: {arguments.topic} is no topic {kind}: {error.phrase}", file=sys.stderr)
        return EXIT_BAD_USAGE
    except SettingsError as error:
        print(f"swellmq explain: {error}", file=sys.stderr)
        return EXIT_BAD_USAGE
    except LookupError:
        print(f"swellmq explain: no listener has the port or path {arguments.listener}", file=sys.stderr)
        return EXIT_BAD_USAGE
    bare = split_share(topic)[1] if subscribes else topic
    decision = rules.decide(arguments.user, arguments.client, RIGHTS_BY_NAME[arguments.right], bare)
    print(f"{'allowed' if decision.allowed else 'denied'}: {decision.why}")
    if decision.rule is not None:
        print(f"  {decision.rule.place}: {decision.rule.text}")
    else:
        print(f"  {path}: {rules.count} rules")
    return 0 if decision.allowed else EXIT_DENIED


def acl_file(settings: Settings, listener: str | None) -> tuple[str, str]:
    """The ACL file for clients of a listener, given by its port or path, and the place of the setting that names it.

    Raises LookupError where there is no such listener. None: one that has no file of its own.
    """
    if listener is not None:
        found = [one for one in settings.listeners if listener == (one.unix or str(one.port))]
        if not found:
            raise LookupError(listener)
        if found[0].rules.acl_file:
            return found[0].rules.acl_file, "listener.acl_file"
    return settings.access_acl_file, settings.where("access.acl_file")
