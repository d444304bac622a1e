from .agreeing import (
    audit_run as audit_run,
)
from .auditing import (
    Audit as Audit,
    aaudit as aaudit,
    audit as audit,
)
from .catalog import (
    check_ledger as check_ledger,
    doctor as doctor,
    list_models as list_models,
    list_tasks as list_tasks,
    merge_ledgers as merge_ledgers,
    show_task as show_task,
)
from .certificates import (
    Replayed as Replayed,
    replay as replay,
)
from .cluster import (
    doctor_of_cluster as doctor_of_cluster,
)
from .costing import (
    Rates as Rates,
    cost as cost,
    exchange as exchange,
)
from .dry import (
    DryRun as DryRun,
    dry_run as dry_run,
)
from .existing import (
    Run as Run,
    open_run as open_run,
)
from .gates import (
    PassRateTooLow as PassRateTooLow,
    assert_pass_rate as assert_pass_rate,
    gate as gate,
)
from .parts import (
    Watch as Watch,
)
from .probing import (
    probe as probe,
)
from .reporting import (
    report as report,
)
from .reproducing import (
    reproduce_paper as reproduce_paper,
)
from .runs import (
    Verified as Verified,
    aresume as aresume,
    arun as arun,
    averify as averify,
    resume as resume,
    run as run,
    sample as sample,
    verify as verify,
)
from .scoring import (
    Scored as Scored,
    ascore as ascore,
    score as score,
)
from .selecting import (
    select as select,
)
from .several import (
    arun_all as arun_all,
    run_all as run_all,
)
from .solving import (
    Hunt as Hunt,
    Solved as Solved,
    asolve as asolve,
    solve as solve,
)
from .statistics import (
    compare as compare,
    coverage as coverage,
    family as family,
    fit as fit,
    forecast as forecast,
    plan as plan,
    sources as sources,
    verifier_noise as verifier_noise,
)
from .transfer import (
    Exported as Exported,
    export as export,
    import_samples as import_samples,
)
