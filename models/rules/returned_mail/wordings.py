"""The words in which mail servers refuse a mail → what they mean, in the languages and idioms that are about.

Decides by the first pattern that is found, in the order of the table: what speaks of us or of the mail comes before
what speaks of the address, because "blocked" texts like to mention users, and the reverse is rare. The texts are those
of RFC 3463, of Postfix, Exim, Sendmail, qmail, Exchange, Domino and of large providers' documentation.
"""

from __future__ import annotations

from enum import StrEnum

from models.rules.returned_mail.phrases import phrases


class Meaning(StrEnum):
    """What a server wanted to say."""

    UNKNOWN_USER = "unknown user"
    UNKNOWN_HOST = "unknown domain"
    MOVED = "moved"
    NO_MAIL = "takes no mail"
    DISABLED = "mailbox disabled"
    SUSPENDED = "mailbox suspended"
    FULL = "mailbox full"
    EXPIRED = "given up after a time"
    NETWORK = "network or server trouble"
    TEMPORARY = "temporary"
    SENDER = "our sender address"
    REPUTATION = "our reputation or their policy"
    CONTENT = "this mail"
    UNCLEAR = "unclear"


_TABLE: tuple[tuple[Meaning, str], ...] = (
    (
        Meaning.SENDER,
        r"""
        domain of sender address .{0,80}does not exist
        sender(?:'s)? (?:address|domain)?.{0,40}(?:does not exist|not exist|unknown|invalid|rejected|verify fail
          |verification failed|not verified)
        sender (?:rejected|denied|refused|unknown)
        (?:unroutable|invalid|unresolvable|bad) sender
        could not verify sender
        sender verify
        mail from .{0,40}not allowed
        backscatter
        sender is (?:not|blocked)
        not allowed to send
        unverified sender
        expéditeur (?:inconnu|refus)
        """,
    ),
    (
        Meaning.FULL,
        r"""
        (?:mail ?box|inbox|mail ?folder|mail ?drop|user|account|recipient|storage|disk|maildir|postfach|quota
          |e-?mail)\b.{0,60}\b(?:is full|full\b|over ?quota|exceed(?:ed|s|ing)?\b.{0,30}\b(?:quota|limit|storage
          |allocat|space|size)|out of (?:space|storage)|überfüllt|voll\b|is over|too full)
        over(?:drawn)?[ -]?(?:disk[ -]?)?quota
        quota[ -](?:exceeded|full|violation|überschritten)
        (?:exceed|exceeded|exceeds|exceeding) (?:\w+ ){0,4}quota
        insufficient (?:disk )?(?:space|storage|system storage|quota)
        not enough (?:disk |storage |free )?space
        no space left
        disc quota
        disk quota
        mailbox size limit
        mailfolder is full
        user has too many messages
        too many messages (?:in|on) (?:the |this )?mailbox
        delivery failed: over quota
        out of storage
        maximum allowed disk
        full mailbox
        mailbox .{0,20}too large
        can'?t receive.{0,20}(?:full|quota)
        in-?box is full
        boxfull
        bo[iî]te (?:aux lettres |de réception )?(?:est )?pleine
        quota dépassé
        dépass\w* .{0,20}quota
        buz[oó]n (?:est[aá] )?lleno
        cuota (?:excedida|superada)
        caixa (?:de correio )?(?:está )?cheia
        casella (?:di posta )?(?:è )?piena
        postvak (?:is )?vol
        skrzynka .{0,20}(?:pełna|przepełniona)
        ящик .{0,20}(?:переполнен|полон)
        容量.{0,15}(?:超|オーバー|いっぱい|不足|一杯)
        (?:邮箱|郵箱|信箱).{0,8}(?:满|滿|超)
        メールボックス.{0,10}(?:満|いっぱい|一杯|容量)
        """,
    ),
    (
        Meaning.UNKNOWN_USER,
        r"""
        (?:user|recipient|address|mailbox|account|alias|utilisateur
          |usuario)\b.{0,80}\bnot found in (?:the )?(?:directory|domino|table|ldap|virtual|database|address ?book)
        not listed in (?:public |domino |the )
        recipient address rejected: access denied
        ディレクトリには?見つかり
        """,
    ),
    (
        Meaning.REPUTATION,
        r"""
        black ?list
        block ?list
        denylist
        \bD?NS?[BW]L\b
        \bRBLs?\b
        spamhaus
        spamcop
        barracuda(?:central| reputation)
        sorbs
        senderbase
        proofpoint\.com
        senderscore
        \bSBL\d
        \(BL\)
        \bspam\b
        spammer
        \bspamming
        unsolicited
        bulk mail
        junk ?mail
        reputation
        \bDMARC\b
        \bSPF\b
        \bDKIM\b
        sender[ -]?id\b
        unauthenticated
        authentication (?:required|checks|information|failed)
        not authenticated
        relay(?:ing)?(?: access)? (?:is |was )?(?:denied|prohibited|not|refused|disallowed|forbidden)
        relay not permitted
        (?:unable|cannot|refuse[sd]?|not (?:allowed|permitted|able)|authori[sz]ed) to relay
        no relay
        relay(?:ing)? (?:blocked|rejected)
        we do not relay
        rcpthosts
        reverse (?:dns|lookup|mapping)
        \bPTR\b
        \brDNS\b
        ip name lookup
        ip name possibly
        cannot find your (?:reverse )?host ?name
        client host (?:rejected|\[)
        (?:host|ip|server|network|domain|client
          |connection)\b.{0,60}\b(?:is |was |been |has been )(?:temporarily )?(?:blocked|banned|denied|refused
          |blacklisted|rejected)
        blocked (?:using|by|due|for|because|-|at)
        (?:message|mail|e-?mail|connection)s? (?:was |is |has been )?(?:blocked|denied)\b
        access (?:denied|is denied|blocked|forbidden)
        (?:policy|security|administrative|administratively)\b.{0,30}(?:violation|reject|denied|prohibit|reason
          |restrict|block)
        (?:rejected|refused|blocked|denied) (?:due to|for|by|because of|as) (?:\w+ ){0,3}(?:policy|reputation
          |security|administrat\w+|content filter|spam|local)
        for policy reasons
        prohibited by
        violat(?:es|ion)
        not accepting (?:mail|connections) from
        greylist
        grey-?listed
        too many (?:connections|messages|recipients|concurrent|sessions|errors|invalid|unknown|emails)
        rate limit
        throttl
        exceeded the (?:maximum )?(?:rate|number of)
        sending limit
        daily (?:sending )?(?:quota|limit)
        (?:must|need to) issue a STARTTLS
        encryption (?:required|needed)
        TLS (?:is )?required
        bad helo
        invalid helo
        helo command rejected
        not an? (?:valid )?fqdn
        only .{0,40}members? (?:can|may|are allowed)
        not (?:allowed|permitted|authori[sz]ed) to (?:post|send|mail|contact)
        you do not have permission
        restrict(?:ed|ion)
        moderated
        closed list
        refused by recipient
        unacceptable
        can'?t be accepted from
        not accept (?:mail|e-?mail|messages) from
        (?:not|n'est|n'êtes|pas|no|nicht|non|não|nie|没有|沒有)\b.{0,40}(?:autoris|authoris|authoriz|berechtig|permiso
          |permisos|permiss|permess|uprawni|autorizad|autorizzat)
        没有.{0,20}权限
        沒有.{0,30}權限
        権限がな
        не имеете права
        listed (?:in|on|at|by) \S+
        invalid ip\b
        recipient preferences
        suspicious
        fraud
        phish
        malicious
        ブロック
        拒否
        黑名单
        垃圾邮件
        """,
    ),
    (
        Meaning.CONTENT,
        r"""
        \bvirus
        malware
        infected
        infection
        worm\b
        trojan
        (?:message|mail|e-?mail|attachment|size|data|it|file)\b.{0,40}(?:too (?:big|large|long)
          |exceeds?\b.{0,40}(?:size|limit|maximum|bytes))
        size (?:limit )?exceed
        exceeds? (?:the )?(?:maximum |fixed |administrative )*(?:message |mail )?(?:size|length)
        maximum (?:message|mail) size
        message size
        (?:content|message|mail|attachment|file|body|header|format)s? (?:\w+ ){0,3}(?:rejected|refused
          |not accepted|not allowed|filtered|prohibited)
        content (?:filter|reject|error|policy)
        (?:header|format|syntax|protocol|mime|data) (?:error|violation)
        bad header
        malformed
        bare (?:cr|lf)
        not rfc
        rfc ?\d{3,4}
        8[ -]?bit
        multiple .{0,20}from
        messages missing
        missing (?:a )?(?:valid )?(?:header|from|date|message-id|subject)
        line (?:too long|length)
        invalid (?:character|header|date)
        loop
        too many hops
        hop count
        zu groß
        trop (?:gros|volumineux)
        """,
    ),
    (
        Meaning.SUSPENDED,
        r"""
        (?:user|mailbox|account) account disabled
        (?:account|mailbox|user|recipient|address|domain|e-?mail)\b.{0,60}\b(?:suspended|inactive|deactivated
          |on hold|locked|frozen|dormant|not active|temporarily disabled|expired)
        not activated
        inactive (?:user|account|mailbox|recipient)
        suspended (?:user|account|mailbox)
        bo[iî]te désactivée
        休止
        停用
        """,
    ),
    (
        Meaning.DISABLED,
        r"""
        (?:account|mailbox|user|recipient|address|e-?mail)\b.{0,60}\b(?:disabled|discontinued|terminated|closed
          |cancell?ed|blocked from receiving)
        disabled (?:user|account|mailbox|recipient)
        no longer (?:in use|active|accept|valid|available|exist|on server|with|work)
        """,
    ),
    (
        Meaning.MOVED,
        r"""
        has moved
        user not local
        has been (?:moved|replaced|changed) (?:to|by)
        new (?:e-?mail )?address
        please (?:try|use) <?\S+@\S+>? instead
        not our user
        is no longer
        has left the
        """,
    ),
    (
        Meaning.NO_MAIL,
        r"""
        null ?mx
        indicated no smtp service
        does not accept (?:any )?(?:e-?)?mail
        accepts? no mail
        mail (?:server )?not (?:accepted|supported) here
        no mail (?:is )?accepted
        (?:find|found) a? ?mail exchanger
        no valid mail ?(?:host|exchanger)
        \b5(?:21|56)\b[ -]
        no (?:appropriate|suitable) .{0,20}mx
        mail receiving disabled
        recipient domain has no mail
        smtp service not available
        no mx (?:record|found|host)
        nullmx
        mx record .{0,30}not (?:exist|found)
        """,
    ),
    (
        Meaning.UNKNOWN_HOST,
        r"""
        host(?: ?name)? (?:not found|unknown|does not exist|or domain name not found|invalid)
        unknown host
        unknown (?:mail )?(?:domain|host)
        (?:domain|host)(?: name)?\b.{0,60}(?:not found|does(?: not|n'?t) exist|non-?existent|is invalid
          |is not valid|unknown)
        no such (?:domain|host)
        \b[a-z\d-]+(?:\.[a-z\d-]+)*\.[a-z]{2,24} does not exist
        couldn'?t find any host
        nxdomain
        unrout(?:e)?able (?:mail )?(?:domain|address)
        unable to resolve
        cannot resolve
        could not resolve
        name or service not known
        no (?:a|dns|mx)[^.]{0,20}records?
        invalid domain
        bad domain
        illegal host/domain
        domain .{0,40}(?:can'?t be found|could not be found|couldn'?t be found)
        no route to domain
        domaine inconnu
        domain .{0,30}existiert nicht
        ドメイン.{0,15}(?:存在しません|見つかり)
        域名.{0,6}(?:不存在|无效)
        """,
    ),
    (
        Meaning.UNKNOWN_USER,
        r"""
        (?:user|recipient|addressee|address|mail ?box|mail-?account|account|alias|person|local ?part|rcpt|customer
          |subscriber|destinatario|destinataire|utilisateur|usuario|empfänger)s?\b.{0,80}?\b(?:unknown
          |not (?:known|found|exist|valid|recogni[sz]ed|listed|available here|be found|here|a known|local
          |registered|located|in )|does ?(?:not|n'?t) (?:exist|have)|do not exist|doesn'?t exist|invalid|undefined
          |unavailable|no longer|wasn'?t found|couldn'?t be found|could not be found|cannot be found|is bad
          |non-?exist\w*|inconnue?|desconocido|no existe|inexistente|unbekannt|existiert nicht
          |rejected[\s.]*(?:\(in reply[^()]*\))?\s*$|unrouteable|incorrect|isn'?t|non esiste|sconosciuto)
        (?:unknown|invalid|no such|non-?existent|bad|illegal|undefined|nonexist\w*|unrouteable|no known|unroutable
          |bogus|incorrect|not a valid|not a known|no valid) (?:\w+[ -]){0,3}?(?:user|recipient|rcpt|mail ?box
          |mail ?drop|address|account|alias|local[ -]?part|person|people|id\b|destination|addressee|customer
          |virtual|name|username)
        (?:user|recipient|mailbox|account|address) ?(?:is )?(?:unknown|<[^<>]{0,100}> (?:unknown|does not))
        no mailbox (?:here|found|by)
        no user (?:here|by|found)
        nobody (?:here|by)
        there is no one
        isn'?t (?:in|on) (?:my|our|the)
        not our customer
        unknown[ -](?:local|virtual|uid|or illegal)
        user_?unknown
        mailbox_?not_?found
        can'?t (?:find|locate) (?:the )?(?:user|mailbox|recipient)
        couldn'?t find (?:the )?(?:user|recipient|mailbox)
        unable to (?:find|locate|validate) (?:the )?(?:user|recipient)
        does(?: not|n'?t) have (?:an?|this) [\w. -]{0,40}(?:account|mailbox)
        no account by
        not a mailbox
        recipnotfound
        resolver\.adr
        this user doesn'?t
        delivery to (?:this|the) (?:address|user) .{0,20}(?:not allowed|not permitted)
        said: 5\d\d user
        user not
        mailbox unavailable
        unavailable mailbox
        box unavailable
        requested action not taken: mailbox
        (?:e-?mail )?address (?:you entered )?(?:couldn'?t|could not) be found
        typed? (?:the |an )?(?:e-?mail )?address .{0,20}(?:wrong|incorrect)
        wrong address
        n'existe pas
        n'existe plus
        adresse (?:e-?mail )?(?:inconnue|invalide|incorrecte)
        kein(?:e|en)? (?:\w+ )?(?:postfach|empfänger|benutzer|mailbox)
        nicht gefunden
        unbekannte[rn]? (?:empfänger|benutzer|adresse|e-?mail)
        adresse? .{0,30}(?:existiert nicht|nicht vorhanden|unbekannt|ungültig)
        no existe (?:el|la|ese|esta)
        não existe
        inexistente
        utente sconosciuto
        indirizzo .{0,30}(?:inesistente|non esiste)
        nie istnieje
        nieznany (?:odbiorca|użytkownik)
        onbekende? (?:gebruiker|ontvanger)
        bestaat niet
        finns inte
        findes ikke
        finnes ikke
        neexistuje
        не существует
        не найден
        неизвестный (?:пользователь|получатель)
        нет такого
        недействител
        宛先.{0,20}(?:不明|存在し|見つかり)
        (?:ユーザ|アカウント|アドレス|メールボックス).{0,20}(?:存在しま|見つかりま|不明|ありません)
        (?:用户|用戶|收件人|邮箱|账号|帳號|地址).{0,10}(?:不存在|未找到|找不到|无效|错误|有误)
        不存在
        존재하지
        찾을 수 없
        """,
    ),
    (
        Meaning.EXPIRED,
        r"""
        (?:delivery|retry|message|mail|time|timeout|queue|it)\b.{0,40}\b(?:expired|timed? ?-?out|time limit
          |timeout exceeded|too old)
        retry timeout
        (?:could|has) not (?:be|been) delivered (?:for|within|in|after)\b
        not (?:be )?delivered (?:for|within|after) (?:more than )?\d+
        has been (?:on|in) (?:the )?(?:queue|spool)
        giving up after
        too long in
        queue (?:life ?time|time)
        frozen
        message will be (?:retried|deleted)
        delayed
        will (?:continue to|keep|be) (?:try|tri|retr)
        still (?:being retried|trying)
        maximum (?:retry|retries|time|queue)
        undeliver\w* (?:for|after) \d+
        unable to deliver .{0,60}(?:hours|days)
        4\.4\.7
        配送.{0,10}(?:できません|遅延)でした.{0,10}時間
        """,
    ),
    (
        Meaning.NETWORK,
        r"""
        connection (?:refused|timed? ?out|reset|lost|closed|dropped|failed|was|terminated|could not|cannot)
        (?:conversation|lost connection|session|timed out) (?:with|while)
        no route to host
        network (?:is )?unreachable
        host (?:is )?(?:unreachable|down|not responding|no answer)
        unreachable
        could ?n[o']t connect
        cannot connect
        unable to connect
        no (?:smtp )?(?:response|answer)
        not respond
        did not respond
        name ?server
        name service
        lookup (?:fail|error|timed)
        dns (?:error|fail|timeout|server)
        mail (?:loop|forwarding loop)
        loops? back
        routing loop
        too many (?:hops|received)
        i/o error
        config(?:uration)? error
        read error
        write error
        (?:local|system|server|internal|software|database|backend|unexpected) (?:\w+ )?(?:error|failure|problem
          |failed|config)
        out of memory
        service (?:is )?(?:not available|unavailable|currently)
        command (?:died|failed|output|time)
        program
        maildir
        pipe to
        can'?t create
        procmail
        exit (?:code|status)
        signal \d+
        mail (?:system|server) (?:is )?(?:full|busy|down)
        """,
    ),
    (
        Meaning.TEMPORARY,
        r"""
        temporar(?:y|ily)
        try (?:again|later)
        later\b
        deferred
        not (?:currently )?available (?:now|at)
        busy
        resources
        transient
        momentan
        vorübergehend
        temporaire
        一時
        稍后
        稍後
        """,
    ),
)
_PATTERNS = tuple((meaning, phrases(pattern)) for meaning, pattern in _TABLE)
MAX_WORDS = 8_000
"""Characters of a text that are looked at."""


def meaning_of(text: str) -> Meaning | None:
    """What a server's words mean; None if they are none that are known. Case and line breaks do not matter."""
    words = " ".join(text[:MAX_WORDS].split())
    return next((meaning for meaning, pattern in _PATTERNS if pattern.search(words)), None)
