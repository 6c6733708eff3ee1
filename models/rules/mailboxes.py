"""What kind of mailbox an e-mail address is: disposable, free, role or business.

Decides by lists of well-known providers and of local parts that stand for a function instead of a person. A provider
may be both free and disposable: disposable wins. The lists hold the large providers; a programme names further
domains itself (`email_domain: {in_list: …}`).
"""

from __future__ import annotations

DISPOSABLE = frozenset(
    """10minutemail.com 33mail.com anonaddy.me burnermail.io discard.email discardmail.com dispostable.com dropmail.me
    emailondeck.com fakeinbox.com getairmail.com getnada.com grr.la guerrillamail.biz guerrillamail.com
    guerrillamail.de guerrillamail.info guerrillamail.net guerrillamail.org guerrillamailblock.com harakirimail.com
    inboxkitten.com jetable.org mail-temp.com mail.tm mailcatch.com maildrop.cc mailexpire.com mailforspam.com
    mailinator.com mailinator.net mailnesia.com mailnull.com mintemail.com moakt.com mohmal.com mytemp.email
    nada.email pokemail.net sharklasers.com spam4.me spamgourmet.com temp-mail.io temp-mail.org tempail.com
    tempinbox.com tempmail.com tempmail.net tempmailo.com throwawaymail.com trash-mail.com trashmail.com
    trashmail.de trashmail.net wegwerfmail.de yopmail.com yopmail.fr yopmail.net""".split()
)
FREE = frozenset(
    """126.com 139.com 163.com abv.bg aim.com aliyun.com aol.com aol.de arcor.de att.net bellsouth.net bigpond.com
    bk.ru bluewin.ch bol.com.br btinternet.com centrum.cz charter.net comcast.net cox.net daum.net email.cz
    email.com fastmail.com fastmail.fm foxmail.com free.fr freemail.hu freenet.de gmail.com gmx.at gmx.ch gmx.com
    gmx.de gmx.net googlemail.com hanmail.net hey.com home.nl hotmail.be hotmail.ca hotmail.co.uk hotmail.com
    hotmail.de hotmail.es hotmail.fr hotmail.it hotmail.nl hushmail.com icloud.com ig.com.br inbox.lv inbox.ru
    interia.pl juno.com kpnmail.nl laposte.net libero.it list.ru live.ca live.co.uk live.com live.de live.fr live.it
    live.nl mac.com mail.com mail.ru me.com msn.com mindspring.com naver.com netscape.net nate.com ntlworld.com
    o2.pl online.de onet.pl op.pl optonline.net orange.fr outlook.com outlook.de outlook.es outlook.fr outlook.it
    passport.com pm.me poczta.onet.pl proton.me protonmail.ch protonmail.com qq.com rambler.ru rediffmail.com
    rocketmail.com rogers.com sapo.pt sbcglobal.net seznam.cz sfr.fr shaw.ca sina.com sky.com skynet.be sohu.com
    t-online.de talktalk.net telenet.be terra.com.br tin.it tiscali.it tlen.pl tuta.io tutanota.com ukr.net uol.com.br
    verizon.net virgilio.it virgilio.net virginmedia.com wanadoo.fr web.de windstream.net wp.pl xs4all.nl ya.ru
    yahoo.ca yahoo.co.id yahoo.co.in yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.ar yahoo.com.au yahoo.com.br
    yahoo.com.mx yahoo.de yahoo.es yahoo.fr yahoo.in yahoo.it yandex.com yandex.ru yeah.net ymail.com zoho.com
    zohomail.com ziggo.nl""".split()
)
ROLES = frozenset(
    """abuse accounting accounts admin administration administrator all billing bookings careers compliance contact
    customerservice dev dpo enquiries enquiry everyone feedback finance hello help helpdesk hostmaster hr info
    information inquiries inquiry invoice invoices it jobs kontakt legal mail mailer-daemon management marketing
    media news newsletter no-reply noc noreply office operations orders partners postmaster press privacy procurement
    purchasing recruiting reception sales security service shop staff subscribe support sysadmin team tech
    unsubscribe webmaster welcome""".split()
)

_PROVIDERS = dict.fromkeys(FREE, "free") | dict.fromkeys(DISPOSABLE, "disposable")


def domain_of(email: str) -> str | None:
    """The part after the last @, lower case; None without one."""
    _, found, domain = email.rpartition("@")
    return domain.strip().casefold() if found else None


def mailbox_kind(email: str) -> str | None:
    """disposable, free, role or business, the first that applies; None for what is no address."""
    local, found, domain = email.strip().casefold().rpartition("@")
    if not found or not domain:
        return None
    if (provider := _PROVIDERS.get(domain)) is not None:
        return provider
    parent = domain
    while "." in (parent := parent.partition(".")[2]):  # mail.mailinator.com
        if parent in DISPOSABLE:
            return "disposable"
    return "role" if local.partition("+")[0] in ROLES else "business"
