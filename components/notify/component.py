"""The KFP face of ``notify``."""

from kfp import dsl

from kfp_lifecycle.components.shared.image import MONITOR_IMAGE

VERSION = "1.0.0"


@dsl.component(base_image=MONITOR_IMAGE, install_kfp_package=False)
def notify(
    summary: str,
    retraining: str = "",
    retraining_link: str = "",
    started: bool = False,
    events: list[str] = ["retraining", "broken"],
    slack: str = "",
    webhook: str = "",
    webhook_token: str = "",
    email_to: list[str] = [],
    email_from: str = "",
    smtp: str = "",
    smtp_security: str = "starttls",
    smtp_user: str = "",
    smtp_password: str = "",
    ui_host: str = "",
    run_id: str = "",
) -> str:
    """Tells people and programs what monitor found, and which retraining has begun.

    A message names model, version, window and the most drifted columns, says why, and leads to the report
    and the run. A message that cannot be sent is a warning in the log: it never fails the run.

    Args:
        summary: What monitor found: its output of that name.
        retraining: Id of the retraining's run, from retrain; empty for none.
        retraining_link: Where that run is looked at.
        started: Whether it was begun now, and not found under way.
        events: What is told: retraining, drift (an alarm that has led to none), broken (data that cannot be
            judged), unjudged (too little data), steady.
        slack: Where the URL of a webhook is that understands Slack's: env:NAME or file:/path. Never the URL
            itself, which is a secret; empty tells nobody there.
        webhook: Likewise of a webhook that takes any JSON.
        webhook_token: Where the bearer token for it is: env:NAME or file:/path; empty sends none.
        email_to: Addresses to write to.
        email_from: Sender's address; empty is smtp_user, else the first of email_to.
        smtp: Mail server as host or host:port.
        smtp_security: starttls, tls or none.
        smtp_user: Who logs in to the mail server; empty does not.
        smtp_password: Where the password is: env:NAME or file:/path.
        ui_host: Address of Kubeflow's user interface, for a link to the run; empty gives none.
        run_id: The run that this is part of.

    Returns:
        What could not be sent and why, one sentence a line; empty where everything was.

    Raises:
        ParameterError: summary is none of monitor's, or an event is unknown.
    """
    from kfp_lifecycle.components.notify.step import notify_step

    return notify_step(
        summary=summary,
        retraining=retraining,
        retraining_link=retraining_link,
        started=started,
        events=events,
        slack=slack,
        webhook=webhook,
        webhook_token=webhook_token,
        email_to=email_to,
        email_from=email_from,
        smtp=smtp,
        smtp_security=smtp_security,
        smtp_user=smtp_user,
        smtp_password=smtp_password,
        ui_host=ui_host,
        run_id=run_id,
    )
