"""Webhooks from outside: who may send them (settings, signatures) and what they say (one module per provider family).

Pure: takes requests and bytes, gives verdicts and facts. web.hooks receives, tasks.drain stores what comes out of
`reading`, tasks.mail_events does what the events of mail providers lead to.
"""
